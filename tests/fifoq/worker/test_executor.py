"""The executor: the order of its jobs, and how many it prefetches while they are short."""

import asyncio
from typing import Any

import pytest

from fifoq.queue import Backend
from fifoq.record import Claimed, State
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue
from fifoq.worker import executor
from fifoq.worker.executor import MAX_PREFETCHED, PREFETCH_SECONDS, Prefetch


class CountsClaims(WrappedQueue):
    """A queue that stores the number of jobs of each claim."""

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self.claims: list[int] = []

    async def claim(self, call: Any, worker: str, n: int, lease: int, tasks: Any, ahead: int = 0) -> Claimed:
        self.claims.append(n)
        return await self._queue.claim(call, worker, n, lease, tasks, ahead)


@pytest.fixture
def counted(backend: Backend) -> WrappedBackend:
    return WrappedBackend(backend, CountsClaims)


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are expected to be short until one is not."""
    monkeypatch.setattr(executor, "FIRST_ESTIMATE", 0.0)
    monkeypatch.setattr(executor, "PREFETCH_SECONDS", 0.01)


@pytest.fixture
def short(trusting: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs count as short, however long this machine takes for them."""
    monkeypatch.setattr(executor, "PREFETCH_SECONDS", 100.0)


def test_nothing_is_prefetched_before_jobs_have_ended() -> None:
    prefetch = Prefetch()
    for _ in range(10):
        assert prefetch.jobs(busy=False) == 0
        prefetch.ended(PREFETCH_SECONDS / 100)


def test_while_jobs_are_short_some_are_prefetched_and_no_more_than_the_maximum() -> None:
    prefetch = Prefetch()
    for _ in range(200):
        prefetch.ended(PREFETCH_SECONDS / 3.5)
    assert prefetch.jobs(busy=False) == 3
    for _ in range(200):
        prefetch.ended(0.0)
    assert prefetch.jobs(busy=False) == MAX_PREFETCHED


def test_one_long_job_ends_it_at_once_and_one_short_job_does_not_begin_it_again() -> None:
    prefetch = Prefetch()
    for _ in range(1000):
        prefetch.ended(PREFETCH_SECONDS / 100)
    prefetch.ended(1.0)
    assert prefetch.jobs(busy=False) == 0
    prefetch.ended(PREFETCH_SECONDS / 100)
    assert prefetch.jobs(busy=False) == 0


def test_nothing_is_prefetched_behind_jobs_that_have_run_for_longer_than_short_ones_do() -> None:
    prefetch = Prefetch()
    for _ in range(1000):
        prefetch.ended(PREFETCH_SECONDS / 100)
    prefetch.began_at -= 2 * PREFETCH_SECONDS
    assert prefetch.jobs(busy=False) == MAX_PREFETCHED
    assert prefetch.jobs(busy=True) == 0


async def test_prefetched_jobs_begin_in_the_order_of_their_claims_and_one_at_a_time(
    shop: Any, counted: WrappedBackend, short: None
) -> None:
    order: list[int] = []
    now = peak = 0

    async def count(n: int) -> None:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        for _ in range(n % 3):  # some end without suspending, others do not
            await asyncio.sleep(0)
        order.append(n)
        now -= 1

    task = shop.task(count)
    await shop.put_all([shop.spec(task, n) for n in range(200)])
    await shop.worker(backend=counted, concurrency=1).drain()
    assert order == list(range(200))
    assert peak == 1
    assert max(counted.queue("default").claims) == 1 + MAX_PREFETCHED


async def test_a_prefetched_sync_job_waits_its_turn_too(shop: Any, short: None) -> None:
    order: list[int] = []

    def count(n: int) -> None:
        order.append(n)

    task = shop.task(count)
    await shop.put_all([shop.spec(task, n) for n in range(100)])
    await shop.worker(concurrency=1).drain()
    assert order == list(range(100))


async def test_no_job_of_a_key_is_prefetched_behind_another_of_the_key(
    shop: Any, counted: WrappedBackend, short: None
) -> None:
    running: list[int] = []

    async def look() -> None:
        running.append((await shop.states())[State.RUNNING])

    task = shop.task(look)
    await shop.put_all([shop.spec(task, key="k") for _ in range(50)])
    await shop.worker(backend=counted, concurrency=1).drain()
    assert running == [1] * 50


async def test_jobs_prefetched_behind_one_that_is_long_after_all_go_back_to_their_places(
    shop: Any, trusting: None
) -> None:
    go, others = asyncio.Event(), []

    async def wait() -> None:
        await go.wait()

    async def note(n: int) -> None:
        others.append(n)

    long, quick = shop.task(wait), shop.task(note)
    first = await shop.put(long)
    behind = [await shop.put(quick, n) for n in range(30)]
    async with shop.worker(concurrency=1):
        await shop.until_job(first, lambda job: job.state is State.RUNNING)
        for id in behind:
            await shop.until_job(id, lambda job: job.state is State.WAITING)
        assert (await shop.job(behind[0])).attempt == 0
        async with shop.worker(concurrency=1):  # and another worker takes it from there
            for id in behind:
                await shop.ended(id)
        assert others == list(range(30))
        go.set()
        await shop.ended(first)


async def test_a_worker_that_stops_hands_back_prefetched_jobs_at_once(
    shop: Any, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "PREFETCH_TIMEOUT", 100.0)
    begun, go, ran = asyncio.Event(), asyncio.Event(), 0

    async def wait() -> None:
        nonlocal ran
        ran += 1
        begun.set()
        await go.wait()

    task = shop.task(wait)
    ids = [await shop.put(task) for _ in range(5)]
    worker = shop.worker(concurrency=1)
    async with asyncio.TaskGroup() as group:
        await worker.__aenter__()
        await begun.wait()
        ending = group.create_task(worker.__aexit__(None, None, None))
        for id in ids[1:]:
            job = await shop.until_job(id, lambda job: job.state is State.WAITING)
            assert job.attempt == 0
        assert not ending.done()
        go.set()
    assert ran == 1
    assert (await shop.job(ids[0])).state is State.SUCCEEDED


async def test_a_job_that_is_cancelled_while_it_waits_for_its_turn_never_begins(shop: Any, trusting: None) -> None:
    begun, go, ran = asyncio.Event(), asyncio.Event(), []

    async def wait(n: int) -> None:
        ran.append(n)
        begun.set()
        await go.wait()

    task = shop.task(wait)
    ids = [await shop.put(task, n) for n in range(3)]
    async with shop.worker(concurrency=1):
        await begun.wait()
        await shop.backend.queue("default").cancel([ids[1]], "not wanted")
        cancelled = await shop.ended(ids[1])
        assert cancelled.state is State.CANCELLED
        go.set()
        await shop.ended(ids[2])
    assert ran == [0, 2]
