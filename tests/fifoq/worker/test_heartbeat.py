"""Leases are extended while a job runs, and a job is stopped when its lease is not."""

import asyncio
import logging
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from fifoq.calls import Caller
from fifoq.codec import pack
from fifoq.job import Progress
from fifoq.record import Extension, Hold, Lease, State
from fifoq.retry import Retry
from fifoq.task.context import Context
from fifoq.worker import WorkerSettings
from fifoq.worker.executor import Executor
from fifoq.worker.heartbeat import Heartbeat
from fifoq.worker.outage import Contact
from fifoq.worker.run import Plan, Run


async def test_a_job_that_blocks_the_loop_for_three_leases_runs_once(shop: Any) -> None:
    runs = []

    async def block() -> int:
        runs.append(1)
        time.sleep(0.9)  # noqa: ASYNC251 - it is the point
        return len(runs)

    id = await shop.put(shop.task(block))
    stolen: list[str] = []

    def steal() -> None:
        """Claim for another worker, on another loop, as often as possible."""

        async def claim() -> None:
            twin = shop.backend.twin()
            await twin.open()
            until = time.monotonic() + 1.2
            caller = Caller()
            while time.monotonic() < until:
                claimed = await caller.attempt(
                    lambda call: twin.queue("default").claim(call, "thief", 1, 10, ["block"])
                )
                stolen.extend(lease.spec.id for lease in claimed.leases)
                await asyncio.sleep(0.01)
            await twin.close()

        asyncio.run(claim())

    async with shop.worker(lease=0.3):
        await shop.until_job(id, lambda job: job.attempt)
        thief = threading.Thread(target=steal)
        thief.start()
        job = await shop.ended(id)
        await asyncio.to_thread(thief.join)
    assert (job.state, job.result, job.attempt, job.crashes, stolen) == (State.SUCCEEDED, 1, 1, 0, [])


async def test_a_job_whose_lease_was_lost_is_stopped_and_settles_nothing(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    started = asyncio.Event()
    endings = []

    async def slow(ctx: Context) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            endings.append((ctx.attempt, ctx.cancelled))
        return "old"

    id = await shop.put(shop.task(slow))
    queue = shop.backend.queue("default")
    worker = shop.worker(lease=0.3, concurrency=1)
    async with worker:
        await started.wait()
        # The test ends the lease early, and another worker claims the job.
        (run,) = worker._runtime._held.values()
        await queue.extend([Extension(id, run.lease.token, 1)])
        await asyncio.sleep(0.001)
        claimed = await Caller().attempt(lambda call: queue.claim(call, "other", 1, 10_000_000, ["slow"]))
        assert [lease.spec.id for lease in claimed.leases] == [id]
        await shop.until(lambda: endings)
        job = await shop.job(id)
        assert (job.state, job.worker, job.attempt, job.crashes) == (State.RUNNING, "other", 2, 1)
    assert endings == [(1, True)]
    assert any("'slow'" in record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)


async def test_a_job_that_returns_after_its_lease_was_lost_settles_nothing(shop: Any, outages: Any) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def stubborn() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
        return "old"

    id = await shop.put(shop.task(stubborn))
    queue = shop.backend.queue("default")
    worker = shop.worker(lease=0.3, concurrency=1)
    async with worker:
        await started.wait()
        (run,) = worker._runtime._held.values()
        await queue.extend([Extension(id, run.lease.token, 1)])
        await asyncio.sleep(0.001)
        await Caller().attempt(lambda call: queue.claim(call, "other", 1, 60_000_000, ["stubborn"]))
        await stopped.wait()
        await shop.until(lambda: worker._runtime.idle)
    assert outages.calls.count("settle") == 0
    assert (await shop.job(id)).worker == "other"


async def test_a_stale_outcome_is_refused(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    started, go = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        go.wait()
        return "old"

    id = await shop.put(shop.task(slow))
    queue = shop.backend.queue("default")
    worker = shop.worker(lease=0.3, concurrency=1)
    async with worker:
        await asyncio.to_thread(started.wait)
        (run,) = worker._runtime._held.values()
        await queue.extend([Extension(id, run.lease.token, 1)])
        await asyncio.sleep(0.001)
        await Caller().attempt(lambda call: queue.claim(call, "other", 1, 10_000_000, ["slow"]))
        go.set()
        await shop.until(lambda: worker._runtime.idle)
        job = await shop.job(id)
        assert (job.state, job.worker, job.result) == (State.RUNNING, "other", None)


async def test_jobs_are_stopped_before_their_leases_end_if_the_backend_is_gone(shop: Any, outages: Any) -> None:
    started = asyncio.Event()
    stopped: list[float] = []

    async def slow() -> int:
        if started.is_set():
            return 1
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(time.monotonic())
        return 0

    id = await shop.put(shop.task(slow))
    worker = shop.worker(lease=0.5)
    async with worker:
        await started.wait()
        outages.down = True
        (run,) = worker._runtime._held.values()
        await shop.until(lambda: stopped)
        assert stopped[0] < run.deadline
        assert not worker.ready
        outages.down = False
        job = await shop.ended(id)
        # It was handed back, and not left to its lease's end: no attempt, and no crash, is counted for the outage.
        assert (job.result, job.attempt, job.crashes) == (1, 1, 0)
        await shop.until(lambda: worker.ready, 2.0)


async def test_jobs_are_stopped_before_their_leases_end_if_the_backend_hangs(shop: Any, outages: Any) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    await shop.put(shop.task(slow))
    async with shop.worker(lease=0.3, grace=0.0):
        await started.wait()
        outages.hangs = True
        await asyncio.wait_for(stopped.wait(), 5.0)


async def test_an_extension_that_hangs_is_reported_in_words(
    shop: Any, outages: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def stay() -> None:
        await asyncio.sleep(3_600)

    id = await shop.put(shop.task(stay))
    async with shop.worker(lease=0.3, grace=0.0):
        await shop.until_job(id, lambda job: job.state is State.RUNNING)
        outages.hangs = True
        await shop.until(lambda: "An extension of leases had no answer for 0.1 s." in caplog.text)
        outages.hangs = False
    assert all(record.exc_info is None for record in caplog.records)


async def test_a_job_that_was_claimed_but_not_begun_when_its_lease_is_over_is_not_begun(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a process that was frozen in between: another worker may have the job by then."""
    runs: list[int] = []
    start, frozen = Executor.start, []

    async def run(ctx: Context) -> None:
        runs.append(ctx.fence)

    def start_late_once(executor: Executor, started: Any) -> None:
        if not frozen:
            frozen.extend(started)
            for one in started:
                one.deadline = time.monotonic()  # it was taken in time, and its lease is over now
        start(executor, started)

    monkeypatch.setattr(Executor, "start", start_late_once)
    id = await shop.put(shop.task(run))
    await shop.worker().drain()
    assert len(frozen) == 1
    assert runs == [2], "the first claim was handed back"
    job = await shop.job(id)
    assert (job.state, job.attempt, job.crashes) == (State.SUCCEEDED, 1, 0)


async def test_progress_is_seen_while_the_job_runs(shop: Any) -> None:
    go = asyncio.Event()

    async def steps(ctx: Context) -> None:
        for step in range(100):
            await ctx.progress(step, 100, f"step {step}")
        await go.wait()

    id = await shop.put(shop.task(steps))
    async with shop.worker():
        await shop.until_job(id, lambda job: job.progress == Progress(99, 100, "step 99"))
        go.set()
        await shop.ended(id)


async def test_progress_of_a_sync_job_needs_no_await(shop: Any) -> None:
    go = threading.Event()

    def steps(ctx: Context) -> None:
        ctx.progress(1, 2)  # type: ignore[unused-coroutine]
        go.wait()

    id = await shop.put(shop.task(steps))
    async with shop.worker():
        await shop.until_job(id, lambda job: job.progress == Progress(1, 2, ""))
        go.set()
        await shop.ended(id)


async def test_the_last_progress_is_not_lost_when_the_job_ends(shop: Any) -> None:
    async def steps(ctx: Context) -> None:
        for step in range(10):
            await ctx.progress(step)

    id = await shop.put(shop.task(steps))
    async with shop.worker():
        assert (await shop.ended(id)).progress == Progress(9, None, "")


async def test_progress_is_written_in_few_calls(shop: Any, outages: Any) -> None:
    async def steps(ctx: Context) -> None:
        for step in range(200):
            await ctx.progress(step)
            await asyncio.sleep(0.001)

    id = await shop.put(shop.task(steps))
    async with shop.worker():
        await shop.ended(id)
    seconds = (await shop.job(id)).finished_at - (await shop.job(id)).started_at
    assert outages.calls.count("extend") <= 3 + seconds.total_seconds() / 0.1


async def test_progress_that_comes_before_the_heartbeat_is_ready_is_written_soon(shop: Any) -> None:
    async def slow() -> None: ...

    task = shop.task(slow)
    id = await shop.put(task)
    queue = shop.backend.queue("default")
    claimed = await Caller().attempt(lambda call: queue.claim(call, "me", 1, 60_000_000, ["slow"]))
    plan = Plan(task, None)  # type: ignore[arg-type]
    run = Run("default", lambda run, outcome: None, plan, claimed.leases[0], time.monotonic() + 60.0)
    settings = WorkerSettings(lease=60.0)
    heartbeat = Heartbeat(shop.backend, {"token": run}, settings, Contact(), lambda run, why, lease: None)
    heartbeat.report(run, pack([1, 2, ""]))
    heartbeat.start()
    await shop.until_job(id, lambda job: job.progress == Progress(1, 2, ""))
    await heartbeat.stop(5.0)
    assert not heartbeat.alive


async def test_one_extension_that_hangs_costs_no_lease(shop: Any, outages: Any) -> None:
    go, stopped = asyncio.Event(), []

    async def slow(ctx: Context) -> None:
        await go.wait()
        stopped.append(ctx.cancelled)

    id = await shop.put(shop.task(slow))
    async with shop.worker(lease=1.5):
        await shop.until_job(id, lambda job: job.attempt)
        outages.hangs = True
        await shop.until(lambda: "extend" in outages.calls)
        outages.hangs = False
        await asyncio.sleep(1.5)
        go.set()
        job = await shop.ended(id)
    assert (job.attempt, job.crashes, stopped) == (1, 0, [False])


async def test_a_heartbeat_that_fails_starts_again(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started, go = asyncio.Event(), asyncio.Event()
    runs = []

    async def slow() -> None:
        runs.append(1)
        started.set()
        await go.wait()

    extend_leases, failures = Heartbeat._extend_leases, []

    async def fails_once(self: Heartbeat, twin: Any) -> None:
        failures.append(1)
        if len(failures) == 1:
            raise RuntimeError("a bug")
        await extend_leases(self, twin)

    monkeypatch.setattr(Heartbeat, "_extend_leases", fails_once)
    id = await shop.put(shop.task(slow))
    async with shop.worker(lease=0.3):
        await started.wait()
        await asyncio.sleep(1.0)
        go.set()
        job = await shop.ended(id)
    assert (job.attempt, job.crashes, len(runs), len(failures)) == (1, 0, 1, 2)


async def test_a_dead_heartbeat_is_noticed_and_replaced(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow() -> None:
        await asyncio.sleep(1.0)

    main, deaths = Heartbeat._main, []

    def dies_once(self: Heartbeat, ended: Any) -> None:
        deaths.append(1)
        if len(deaths) > 1:
            main(self, ended)

    monkeypatch.setattr(Heartbeat, "_main", dies_once)
    id = await shop.put(shop.task(slow))
    async with shop.worker(lease=0.45):
        job = await shop.ended(id)
    assert (job.attempt, job.crashes, len(deaths)) == (1, 0, 2)


async def test_extends_happen_three_times_per_lease(shop: Any, outages: Any) -> None:
    async def slow() -> None:
        await asyncio.sleep(1.0)

    id = await shop.put(shop.task(slow, retry=Retry(1)))
    async with shop.worker(lease=0.6):
        await shop.ended(id)
    assert 3 <= outages.calls.count("extend") <= 6


async def test_a_queue_whose_server_hangs_takes_no_time_from_the_leases_of_another(shop: Any) -> None:
    called = {"a": asyncio.Event(), "b": asyncio.Event()}

    class Twin:
        def queue(self, name: str) -> Any:
            other = called["b" if name == "a" else "a"]

            async def extend(extensions: list[Extension]) -> list[Hold]:
                called[name].set()
                await other.wait()
                return [Hold.HELD for _ in extensions]

            return SimpleNamespace(extend=extend)

    async def stay() -> None: ...

    plan = Plan(shop.task(stay), Any)  # type: ignore[arg-type]
    lease = Lease(shop.spec("stay"), "token", 1, 1, 1, 1, 0, 0, 0)
    runs = [Run(queue, lambda *_: None, plan, lease, 0.0) for queue in called]
    heartbeat = Heartbeat(shop.backend, {}, WorkerSettings(lease=90.0), Contact(), lambda *_: None)
    twin: Any = Twin()
    assert await asyncio.wait_for(heartbeat._extend_all(twin, runs), 25)
