"""Maintenance of queues: jobs of unknown tasks are reported."""

import logging
from typing import Any

import pytest

from fifoq.record import State


async def test_a_job_of_an_unknown_task_waits_is_reported_and_costs_others_nothing(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def known() -> None: ...

    stranger = await shop.put("stranger", key="k")
    behind = await shop.put(shop.task(known), key="k")
    others = [await shop.put(shop.task(known), key=str(n)) for n in range(20)]
    async with shop.worker(concurrency=2):
        for id in others:
            await shop.ended(id)
        assert (await shop.job(stranger)).state is State.WAITING
        assert (await shop.job(behind)).state is State.WAITING
        await shop.until(lambda: caplog.records)
    (report,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "'stranger'" in report.getMessage()
