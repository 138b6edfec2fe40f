"""Notifications of ends, which a put can ask for: the call that they save, and the cases in which they do not."""

import asyncio
from typing import Any

import pytest

from fifoq.clock import SECOND
from fifoq.errors import JobNotFound
from fifoq.limits import GateSettings
from fifoq.queue import Declare, Full
from fifoq.record import State
from fifoq.testing import AsyncDriver
from fifoq_redis import pubsub
from tests.fifoq_redis.conftest import LONG, Waiter, job


async def test_the_end_of_an_expected_job_is_notified_without_a_call(driver: AsyncDriver, waiter: Waiter) -> None:
    await waiter.leave_claim()
    for id in ("a", "b"):
        waiter.queue.expect(id)
        await waiter.driver.put(job(id, retain=SECOND, task="other"))
        sends = waiter.sends()
        end = asyncio.create_task(waiter.queue.finished(id, LONG))
        await driver.succeed_all(*await driver.leases(tasks=["other"]))
        record = await end
        assert record is not None
        assert record.state is State.SUCCEEDED
        assert waiter.sends() == sends
    assert (await driver.queue.audit()).differences == ()


async def test_an_end_whose_notification_is_lost_is_queried(
    driver: AsyncDriver, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 0.1)
    await waiter.leave_claim()
    waiter.queue.expect("a")
    await waiter.driver.put(job("a", retain=SECOND, task="other"))
    waiter.lose_notifications(monkeypatch)
    await driver.succeed_all(*await driver.leases(tasks=["other"]))
    record = await waiter.queue.finished("a", LONG)
    assert record is not None
    assert record.state is State.SUCCEEDED


async def test_a_job_that_existed_before_or_was_refused_is_queried_at_once(
    driver: AsyncDriver, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 2 * LONG)
    await driver.put(job("a", retain=SECOND))
    await driver.succeed_all(*await driver.leases())
    waiter.queue.expect("a")
    await waiter.driver.put(job("a", retain=SECOND))
    assert await asyncio.wait_for(waiter.queue.finished("a", LONG), LONG)
    await driver.queue.configure([Declare(None, GateSettings(capacity=1))])
    waiter.queue.expect("b")
    full = await waiter.driver.put_reply(job("b"), job("c"))
    assert isinstance(full, Full)
    with pytest.raises(JobNotFound):
        await asyncio.wait_for(waiter.queue.finished("b", LONG), LONG)
    assert (await driver.queue.audit()).differences == ()


async def test_expected_jobs_that_are_never_awaited_are_dropped(
    driver: AsyncDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fifoq_redis.finished.MOST_EXPECTED", 3)
    for number in range(10):
        driver.queue.expect(f"{number}")
    queue: Any = driver.queue
    assert list(queue.finished_waiters._expected) == ["7", "8", "9"]
