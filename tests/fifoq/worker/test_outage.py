"""A backend that is away for a time, and one that loses replies: afterwards there is no trace of it."""

import asyncio
import logging
from typing import Any

import pytest

from fifoq.record import State
from fifoq.retry import Retry
from fifoq.task.context import Context
from fifoq.testing.lost_replies import LostReplies


async def test_a_worker_goes_on_by_itself_when_the_backend_is_back(
    shop: Any, outages: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    shop.task(quick, queue="another")
    worker = shop.worker()
    caplog.set_level(logging.INFO)
    async with worker:
        await shop.ended(await shop.put(task))
        outages.down = True
        await shop.until(lambda: not worker.ready)
        await asyncio.sleep(1.5)
        outages.down = False
        id = await shop.put(task)
        loop = asyncio.get_running_loop()
        start = loop.time()
        await shop.ended(id)
        assert loop.time() - start < 2.0
        await shop.until(lambda: worker.ready, 2.0)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1, errors
    assert "needs no restart" in errors[0]
    assert ".." not in errors[0]
    assert [record for record in caplog.records if "answers again" in record.getMessage()]


async def test_outcomes_are_written_after_an_outage(shop: Any, outages: Any) -> None:
    running, go = asyncio.Event(), asyncio.Event()
    runs = []

    async def slow() -> int:
        runs.append(1)
        running.set()
        await go.wait()
        return 1

    id = await shop.put(shop.task(slow))
    async with shop.worker():
        await running.wait()
        outages.down = True
        go.set()
        await asyncio.sleep(0.3)
        outages.down = False
        assert (await shop.ended(id)).result == 1
    assert runs == [1]


async def test_lost_replies_of_claims_and_settles_change_nothing(shop: Any) -> None:
    runs: dict[str, list[int]] = {}

    async def note(ctx: Context, key: str, n: int) -> int:
        runs.setdefault(key, []).append(n)
        await asyncio.sleep(0)
        return n

    task = shop.task(note)
    for n in range(100):
        await shop.put(task, f"k{n % 7}", n, key=f"k{n % 7}", id=str(n))
    lossy = LostReplies(shop.backend, every=3, verbs=("claim", "settle"))
    await shop.worker(backend=lossy, concurrency=5).drain()
    assert lossy.lost > 10
    assert runs == {f"k{k}": list(range(k, 100, 7)) for k in range(7)}
    jobs = [await shop.job(str(n)) for n in range(100)]
    assert {(job.state, job.attempt, job.crashes) for job in jobs} == {(State.SUCCEEDED, 1, 0)}
    assert (await shop.backend.queue("default").audit()).differences == ()


@pytest.mark.parametrize("verb", ["claim", "settle"])
async def test_one_lost_reply_is_repeated_and_not_made_anew(
    shop: Any, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    runs = []

    async def once() -> None:
        runs.append(1)

    id = await shop.put(shop.task(once, retry=Retry(1)))
    lossy = LostReplies(shop.backend)
    lossy.lose(verb)
    async with shop.worker(backend=lossy):
        job = await shop.ended(id)
    assert (job.state, job.attempt, runs) == (State.SUCCEEDED, 1, [1])
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
