"""A worker never begins a job that it still runs, whatever the store's clock does: it goes on under the new lease."""

import asyncio
import threading
from typing import Any

import pytest

from fifoq.record import Extension, State
from fifoq.testing.clock import ManualClock
from fifoq.worker.run import Stop
from fifoq_memory import MemoryBackend

LONG = 30.0
LEASE = 3_600.0
"""Seconds: the heartbeat extends nothing during a test."""


class Runs:
    """Counts the runs of a task at a time, and holds them until they may end."""

    def __init__(self) -> None:
        self.now = self.most = self.begun = 0
        self.go = threading.Event()
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            self.begun += 1
            self.now += 1
            self.most = max(self.most, self.now)

    def end(self) -> None:
        with self._lock:
            self.now -= 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def backend(clock: ManualClock) -> MemoryBackend:
    return MemoryBackend("memory://", clock=clock)


@pytest.fixture
def runs() -> Runs:
    return Runs()


def task_of(shop: Any, runs: Runs, place: str) -> Any:
    def work(key: str) -> str:
        runs.begin()
        assert runs.go.wait(LONG)
        runs.end()
        return key

    async def awork(key: str) -> str:
        runs.begin()
        while not runs.go.is_set():  # noqa: ASYNC110 -- it is set in any thread
            await asyncio.sleep(0.005)
        runs.end()
        return key

    return shop.task({"thread": work, "loop": awork}[place], max_crashes=100)


async def reclaimed(shop: Any, worker: Any, clock: ManualClock, id: str) -> None:
    """End the job's lease in the store, and return once the worker has claimed it again."""
    before = (await shop.job(id)).attempt
    clock.advance(2 * LEASE)
    worker._runtime._claims.check_all()
    async with asyncio.timeout(LONG):
        while (await shop.job(id)).attempt == before:  # noqa: ASYNC110 -- the worker claims by itself
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("place", ["thread", "loop"])
async def test_a_job_that_is_claimed_again_while_it_runs_goes_on(
    shop: Any, backend: MemoryBackend, clock: ManualClock, runs: Runs, place: str, times: int
) -> None:
    task = task_of(shop, runs, place)
    async with shop.worker(backend=backend, lease=LEASE) as worker:
        first = await shop.put(task, "a", key="a")
        second = await shop.put(task, "a", key="a")
        await shop.until(lambda: runs.begun == 1)
        for _ in range(times):
            await reclaimed(shop, worker, clock, first)
        runs.go.set()
        job = await shop.ended(first)
        assert (job.state, job.result) == (State.SUCCEEDED, "a")
        assert (await shop.ended(second)).state is State.SUCCEEDED
    assert (runs.begun, runs.most) == (2, 1)


async def test_reasons_to_stop_that_are_about_the_old_lease_do_not_count(
    shop: Any, backend: MemoryBackend, clock: ManualClock, runs: Runs
) -> None:
    """The heartbeat may have learned that the old lease is lost, and its request may be on its way."""
    task = task_of(shop, runs, "loop")
    async with shop.worker(backend=backend, lease=LEASE) as worker:
        id = await shop.put(task, "a", key="a")
        await shop.until(lambda: runs.begun == 1)
        runtime = worker._runtime
        (run,) = runtime._held.values()
        old = run.lease
        await reclaimed(shop, worker, clock, id)
        await shop.until(lambda: run.lease is not old)
        for why in (Stop.LOST, Stop.UNREACHABLE):
            runtime._request_stop(run, why, old)
        (hold,) = await backend.queue("default").extend([Extension(id, old.token, 10**6)])
        runtime._heartbeat._extended(run, old, hold, 0.0)
        runs.go.set()
        assert (await shop.ended(id)).result == "a"
    assert runs.begun == 1


async def test_a_thread_that_runs_on_after_its_lease_was_lost_keeps_its_job_from_beginning_here(
    shop: Any, backend: MemoryBackend, clock: ManualClock, runs: Runs
) -> None:
    task = task_of(shop, runs, "thread")
    async with shop.worker(backend=backend, lease=LEASE) as worker:
        id = await shop.put(task, "a", key="a")
        await shop.until(lambda: runs.begun == 1)
        runtime = worker._runtime
        (run,) = runtime._held.values()
        runtime._request_stop(run, Stop.LOST, run.lease)
        await shop.until(lambda: not runtime._held)
        clock.advance(2 * LEASE)
        for _ in range(3):
            claimed = runtime.claimed
            runtime._claims.check_all()
            await shop.until(lambda claimed=claimed: runtime.claimed > claimed)
            await shop.until(lambda: not runtime._unwritten())
            clock.advance(2.0)
        assert runs.begun == 1
        runs.go.set()
        await shop.until(lambda: not runtime._at_work)
        clock.advance(2.0)
        runtime._claims.check_all()
        job = await shop.ended(id)
    assert (job.state, runs.begun, runs.most) == (State.SUCCEEDED, 2, 1)
    assert job.attempt - job.crashes == 1  # the claims that were handed back do not count
