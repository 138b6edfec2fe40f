"""The end of a worker: jobs that finish, jobs that are released, and that it ends at all."""

import asyncio
import logging
import threading
import time
from typing import Any

import pytest

from fifoq.calls import Caller
from fifoq.errors import ConfigurationError
from fifoq.record import Claimed, State
from fifoq.retry import Retry
from fifoq.task.context import Context
from fifoq.worker import runtime
from fifoq.worker.run import RUNAWAY


async def test_jobs_finish_within_the_grace_and_nothing_new_is_claimed(shop: Any) -> None:
    running, go = asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        running.set()
        await go.wait()
        return 1

    task = shop.task(slow)
    first, second = await shop.put(task), await shop.put(task)
    async with shop.worker(concurrency=1):
        await running.wait()
        asyncio.get_running_loop().call_later(0.05, go.set)
    assert (await shop.job(first)).result == 1
    assert (await shop.job(second)).state is State.WAITING
    assert (await shop.job(second)).attempt == 0


async def test_a_job_that_does_not_finish_is_released_to_its_place_unharmed(shop: Any) -> None:
    running = asyncio.Event()

    async def slow() -> None:
        running.set()
        await asyncio.Event().wait()

    id = await shop.put(shop.task(slow), key="k")
    async with shop.worker(grace=0.05):
        await running.wait()
    job = await shop.job(id)
    assert (job.state, job.attempt, job.crashes, job.due_at) == (State.WAITING, 0, 0, None)


async def test_a_job_that_returns_while_it_is_cancelled_counts(shop: Any) -> None:
    running = asyncio.Event()

    async def saves_itself() -> str:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "saved"
        return ""

    id = await shop.put(shop.task(saves_itself))
    async with shop.worker(grace=0.0):
        await running.wait()
    assert (await shop.job(id)).result == "saved"


async def test_a_job_that_swallows_its_cancellation_holds_nothing_up(shop: Any) -> None:
    running = asyncio.Event()
    cleaned = []

    async def never_ends() -> None:
        try:
            while True:
                running.set()
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    continue
        finally:
            cleaned.append(1)

    id = await shop.put(shop.task(never_ends))
    async with shop.worker(grace=0.1):
        await running.wait()
        start = time.monotonic()
    assert time.monotonic() - start < 0.1 + 1.0
    job = await shop.job(id)
    assert (job.state, job.attempt, cleaned) == (State.WAITING, 0, [1])
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "never_ends" and not task.cancelling()]


async def test_a_thread_that_runs_on_is_released_with_a_delay_that_outlasts_the_process(shop: Any) -> None:
    running, go = threading.Event(), threading.Event()

    def stuck() -> None:
        running.set()
        go.wait(30.0)

    async def next_one() -> None: ...

    id = await shop.put(shop.task(stuck), key="k")
    await shop.put(shop.task(next_one), key="k")
    async with shop.worker(grace=0.05):
        await asyncio.to_thread(running.wait)
        start = time.monotonic()
    assert time.monotonic() - start < 0.05 + 1.0
    job = await shop.job(id)
    assert (job.state, job.attempt, job.crashes) == (State.WAITING, 0, 0)
    assert (job.due_at - job.started_at).total_seconds() > RUNAWAY
    (key,) = (await shop.backend.queue("default").blocked_keys(None, 10)).keys
    assert key.reason == "backing off"
    go.set()


async def test_a_cancelled_thread_that_runs_on_keeps_its_key_closed_until_its_lease_ends(shop: Any) -> None:
    stopping, go = threading.Event(), threading.Event()

    def stuck(ctx: Context) -> None:
        while not ctx.cancelled:
            pass
        stopping.set()
        go.wait(30.0)

    id = await shop.put(shop.task(stuck), key="k")
    async with shop.worker(grace=0.05, lease=0.9):
        await shop.until_job(id, lambda job: job.attempt)
        await shop.backend.queue("default").cancel([id], "not wanted")
        await asyncio.to_thread(stopping.wait)
    job = await shop.job(id)
    assert (job.state, job.cancel_requested) == (State.RUNNING, True)
    go.set()


async def test_the_end_comes_in_time_when_the_backend_is_gone(shop: Any, outages: Any) -> None:
    running = asyncio.Event()

    async def slow() -> None:
        running.set()
        await asyncio.Event().wait()

    await shop.put(shop.task(slow))
    async with shop.worker(grace=0.1):
        await running.wait()
        outages.hangs = True
        start = time.monotonic()
    assert time.monotonic() - start < 0.1 + 1.3


async def test_a_claim_on_its_way_hands_its_jobs_back(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    async def quick() -> None:
        ran.append(1)

    id = await shop.put(shop.task(quick))
    queue = shop.backend.queue("default")
    claim, claimed, go = queue.claim, asyncio.Event(), asyncio.Event()

    async def slow_claim(*args: Any) -> Claimed:
        reply = await claim(*args)
        claimed.set()
        await go.wait()
        return reply

    monkeypatch.setattr(queue, "claim", slow_claim)
    async with shop.worker():
        await claimed.wait()
        asyncio.get_running_loop().call_later(0.02, go.set)
    job = await shop.job(id)
    assert (job.state, job.attempt, job.crashes, ran) == (State.WAITING, 0, 0, [])


async def test_a_worker_that_stops_goes_on_with_no_claim(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    await shop.put_all([shop.spec(task) for _ in range(50)])
    queue = shop.backend.queue("default")
    claim, claims, begun, go = queue.claim, [], asyncio.Event(), asyncio.Event()

    async def slow_claim(*args: Any) -> Claimed:
        reply = await claim(*args)
        claims.append(len(reply.leases))
        begun.set()
        await go.wait()
        return reply

    monkeypatch.setattr(queue, "claim", slow_claim)
    async with shop.worker(concurrency=5):
        await begun.wait()
        asyncio.get_running_loop().call_later(0.02, go.set)
    assert claims == [5]
    assert await shop.states() == {State.WAITING: 50}


async def test_a_job_that_was_claimed_too_late_is_not_run(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply took long, or the loop was blocked: the lease has ended, and another worker may have the job."""
    starts, late = [], asyncio.Event()

    async def quick(ctx: Context) -> None:
        starts.append(ctx.attempt)

    id = await shop.put(shop.task(quick))
    queue = shop.backend.queue("default")
    claim = queue.claim

    async def late_claim(*args: Any) -> Claimed:
        reply = await claim(*args)
        if reply.leases and not late.is_set():
            await asyncio.sleep(0.35)
            await Caller().attempt(lambda call: claim(call, "other", 1, 60_000_000, ["quick"]))
            late.set()
        return reply

    monkeypatch.setattr(queue, "claim", late_claim)
    worker = shop.worker(lease=0.3)
    async with worker:
        await late.wait()
        await shop.until(lambda: worker._runtime.claimed and worker._runtime.idle)
        assert (await shop.job(id)).worker == "other"
    assert starts == []


async def test_hurry_ends_the_grace(shop: Any) -> None:
    running = asyncio.Event()

    async def slow() -> None:
        running.set()
        await asyncio.Event().wait()

    id = await shop.put(shop.task(slow))
    worker = shop.worker(grace=3600.0)
    async with worker:
        await running.wait()
        asyncio.get_running_loop().call_later(0.02, worker.hurry)
    assert (await shop.job(id)).attempt == 0


async def test_a_cancelled_end_releases_at_once(shop: Any) -> None:
    running = asyncio.Event()

    async def slow() -> None:
        running.set()
        await asyncio.Event().wait()

    async def embed() -> None:
        async with shop.worker(grace=3600.0):
            await running.wait()

    id = await shop.put(shop.task(slow))
    embedding = asyncio.create_task(embed())
    await running.wait()
    await asyncio.sleep(0.02)
    embedding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await embedding
    job = await shop.job(id)
    assert (job.state, job.attempt) == (State.WAITING, 0)


async def test_an_error_inside_the_block_is_not_hidden(shop: Any) -> None:
    async def quick() -> None: ...

    shop.task(quick)
    with pytest.raises(ValueError, match="mine"):
        async with shop.worker():
            raise ValueError("mine")


async def test_a_worker_may_start_again_but_not_twice_at_a_time(shop: Any) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    worker = shop.worker()
    for _ in range(2):
        async with worker:
            assert worker.ready
            with pytest.raises(ConfigurationError):
                await worker.__aenter__()
            await shop.ended(await shop.put(task))
        assert not worker.ready


async def test_nothing_of_a_worker_is_left_when_it_has_ended(shop: Any) -> None:
    def sync() -> None: ...

    async def quick() -> None: ...

    threads, tasks = threading.active_count(), len(asyncio.all_tasks())
    both = shop.task(sync), shop.task(quick)
    async with shop.worker():
        for task in both:
            await shop.ended(await shop.put(task))
    await shop.until(lambda: threading.active_count() <= threads)
    await shop.until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_jobs_released_by_one_worker_are_run_by_the_next(shop: Any) -> None:
    go = asyncio.Event()
    starts = []

    async def slow(ctx: Context) -> None:
        starts.append(ctx.fence)
        await go.wait()

    task = shop.task(slow)
    ids = [await shop.put(task, key=f"k{n}") for n in range(5)]
    async with shop.worker(grace=0.0):
        await shop.until(lambda: len(starts) == 5)
    go.set()
    async with shop.worker():
        for id in ids:
            job = await shop.ended(id)
            assert (job.state, job.attempt) == (State.SUCCEEDED, 1)
    assert len(starts) == 10


async def test_a_caller_may_still_settle_after_a_worker_is_gone(shop: Any) -> None:
    """A worker leaves nothing behind that blocks another claim."""

    async def quick() -> None: ...

    task = shop.task(quick)
    async with shop.worker():
        await shop.ended(await shop.put(task))
    await shop.put(task)
    queue = shop.backend.queue("default")
    claimed = await Caller().attempt(lambda call: queue.claim(call, "me", 1, 1_000_000, ["quick"]))
    assert len(claimed.leases) == 1
    assert (await queue.audit()).differences == ()


async def test_a_job_that_fails_while_it_is_abandoned_has_one_outcome(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    running = asyncio.Event()

    async def fails_late() -> None:
        running.set()
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue
            except GeneratorExit:
                raise ValueError("late") from None

    id = await shop.put(shop.task(fails_late, retry=Retry(1)))
    async with shop.worker(grace=0.0):
        await running.wait()
    assert (await shop.job(id)).state is State.WAITING
    assert [record.getMessage() for record in caplog.records if "did not stop" not in record.getMessage()] == []


@pytest.mark.parametrize(("grace", "lines"), [(25.0, 1), (0.02, 0), (0.0, 0)])
async def test_a_worker_that_waits_for_its_jobs_says_so_once(
    shop: Any, caplog: Any, monkeypatch: Any, grace: float, lines: int
) -> None:
    monkeypatch.setattr(runtime, "NOTICED", 0.05)
    running, go = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        running.set()
        await go.wait()

    class OnWarning(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "waits for" in record.getMessage():
                go.set()

    handler = OnWarning()
    logging.getLogger("fifoq.worker").addHandler(handler)
    try:
        await shop.put(shop.task(slow))
        with caplog.at_level(logging.WARNING, "fifoq.worker"):
            async with shop.worker(grace=grace):
                await running.wait()
    finally:
        logging.getLogger("fifoq.worker").removeHandler(handler)
    told = [line.getMessage() for line in caplog.records if "waits for" in line.getMessage()]
    assert len(told) == lines
    for line in told:
        assert "waits for 1 job to finish, 24.95 s at most" in line
        assert "second Ctrl-C" in line
        assert "FIFOQ_SHUTDOWN_GRACE=0" in line


async def test_a_worker_whose_jobs_end_at_once_does_not_say_that_it_waits(shop: Any, caplog: Any) -> None:
    running, go = asyncio.Event(), asyncio.Event()

    async def quick() -> None:
        running.set()
        await go.wait()

    await shop.put(shop.task(quick))
    with caplog.at_level(logging.WARNING, "fifoq.worker"):
        async with shop.worker(grace=25.0):
            await running.wait()
            asyncio.get_running_loop().call_soon(go.set)
    assert not [line for line in caplog.records if "waits for" in line.getMessage()]
