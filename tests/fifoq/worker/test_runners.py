"""Functions in the event loop and in threads: their context, and how timeouts and cancellation stop them."""

import asyncio
import contextvars
import logging
import threading
from typing import Any

import pytest

from fifoq.codec import pack
from fifoq.record import State
from fifoq.retry import Retry
from fifoq.task.context import Context

ONCE = Retry(1)


async def test_a_timeout_fails_the_job_through_its_retries(shop: Any) -> None:
    attempts = []

    async def slow() -> None:
        attempts.append(1)
        await asyncio.Event().wait()

    id = await shop.put(shop.task(slow, timeout=0.02, retry=Retry(2, backoff=0.001)))
    async with shop.worker():
        job = await shop.ended(id)
    assert (job.state, job.error.type, len(attempts)) == (State.FAILED, "TimeoutError", 2)
    assert "0.02 s" in job.error.message


async def test_a_job_that_ends_in_spite_of_its_timeout_succeeds(shop: Any) -> None:
    async def stubborn() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 7
        return 0

    id = await shop.put(shop.task(stubborn, timeout=0.02))
    async with shop.worker():
        assert (await shop.ended(id)).result == 7


async def test_timeouts_and_task_groups_of_its_own_work_inside_a_job(shop: Any) -> None:
    async def nested() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            both = [group.create_task(asyncio.sleep(0.001, n)) for n in (1, 2)]
        return sum(task.result() for task in both)

    id = await shop.put(shop.task(nested, timeout=5.0, retry=ONCE))
    async with shop.worker():
        assert (await shop.ended(id)).result == 3


async def test_cancelling_a_running_job_stops_it_and_opens_its_key(shop: Any) -> None:
    running = asyncio.Event()
    stopped = []

    async def slow(ctx: Context) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(ctx.cancelled)

    async def next_one() -> int:
        return len(stopped)

    first = await shop.put(shop.task(slow), key="k")
    second = await shop.put(shop.task(next_one), key="k")
    async with shop.worker(lease=0.15):
        await running.wait()
        await shop.backend.queue("default").cancel([first], "not wanted")
        job = await shop.ended(first)
        assert (job.state, job.reason, stopped) == (State.CANCELLED, "not wanted", [True])
        assert (await shop.ended(second)).result == 1


async def test_a_sync_job_sees_that_it_is_cancelled(shop: Any) -> None:
    running = threading.Event()

    def slow(ctx: Context) -> None:
        running.set()
        while not ctx.cancelled:
            pass
        raise RuntimeError("stopped half-way")

    id = await shop.put(shop.task(slow, retry=Retry(5)))
    async with shop.worker(lease=0.15):
        await asyncio.to_thread(running.wait)
        await shop.backend.queue("default").cancel([id], "not wanted")
        job = await shop.ended(id)
    assert (job.state, job.reason) == (State.CANCELLED, "not wanted")


async def test_a_job_that_finishes_in_spite_of_its_cancellation_succeeds(shop: Any) -> None:
    running = asyncio.Event()

    async def stubborn() -> int:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 1
        return 0

    id = await shop.put(shop.task(stubborn))
    async with shop.worker(lease=0.15):
        await running.wait()
        await shop.backend.queue("default").cancel([id], "not wanted")
        assert (await shop.ended(id)).state is State.SUCCEEDED


async def test_a_thread_keeps_its_key_closed_until_it_returns_after_its_timeout(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    release, timed_out = threading.Event(), threading.Event()

    def stuck(ctx: Context) -> None:
        while not ctx.cancelled:
            pass
        timed_out.set()
        release.wait()

    async def next_one() -> None: ...

    first = await shop.put(shop.task(stuck, timeout=0.02, retry=ONCE), key="k")
    second = await shop.put(shop.task(next_one), key="k")
    async with shop.worker(lease=0.1):
        await asyncio.to_thread(timed_out.wait)
        await asyncio.sleep(0.3)  # three leases: it must have been extended
        assert (await shop.job(first)).state is State.RUNNING
        assert (await shop.job(second)).state is State.WAITING
        release.set()
        job = await shop.ended(first)
        assert (job.state, job.error.type, job.crashes) == (State.FAILED, "TimeoutError", 0)
        await shop.ended(second)
    warning = next(record for record in caplog.records if record.levelno == logging.WARNING)
    assert "'stuck'" in warning.getMessage()


async def test_a_job_without_a_timeout_has_no_timer(shop: Any) -> None:
    timers = []

    async def look() -> None:
        timers.extend(handle for handle in asyncio.get_running_loop()._scheduled if "Stop" in repr(handle))  # type: ignore[attr-defined]

    id = await shop.put(shop.task(look))
    async with shop.worker():
        await shop.ended(id)
    assert timers == []


# ---- the context of a function ----


async def test_each_job_has_its_own_context_variables(shop: Any) -> None:
    variable = contextvars.ContextVar("variable", default="clean")
    seen = []

    async def set_it() -> None:
        seen.append(variable.get())
        variable.set("dirty")

    def set_it_too() -> None:
        seen.append(variable.get())
        variable.set("dirty")

    for task in (shop.task(set_it), shop.task(set_it_too)):
        for _ in range(3):
            await shop.put(task)
    await shop.worker(concurrency=1, threads=1).drain()
    assert seen == ["clean"] * 6


async def test_sync_jobs_see_the_context_variables_that_the_worker_was_started_with(shop: Any) -> None:
    variable = contextvars.ContextVar("variable", default="")
    variable.set("given")

    def look() -> str:
        return f"{variable.get()} in {threading.current_thread().name}"

    id = await shop.put(shop.task(look))
    async with shop.worker():
        assert (await shop.ended(id)).result.startswith("given in fifoq-thread")


async def test_resources_and_all_else_of_the_context_reach_the_task(shop: Any) -> None:
    async def look(ctx: Context, n: int) -> list[Any]:
        return [n, ctx.resources["db"], ctx.meta["who"], ctx.fence > 0, ctx.job.id, ctx.job.worker, ctx.job.key]

    shop.resources = {"db": 1}
    id = await shop.put(shop.task(look), 5, key="k", meta=pack({"who": "me"}))
    worker = shop.worker(name="w")
    async with worker:
        assert (await shop.ended(id)).result == [5, 1, "me", True, id, "w", "k"]
