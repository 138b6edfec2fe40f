"""What a worker does with jobs that the backend has claimed for it ahead of its next call."""

import asyncio
import time
from typing import Any

import pytest

from fifoq.queue import Backend, Call
from fifoq.record import Claimed, State
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue

LEASE = 60.0


class ClaimsAhead(WrappedQueue):
    """It lets each claim stand, and makes the next one when it is told to. Nothing else is ever heard of it."""

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self.asked: list[tuple[int, int]] = []
        """By claim for how many jobs, and for how many the next one may be made ahead."""
        self.made: Claimed | None = None
        self._told = asyncio.Event()
        self._last: Call | None = None
        self._terms: Any = None

    async def claim(self, call: Call, worker: str, n: int, lease: int, tasks: Any, ahead: int = 0) -> Claimed:
        self.asked.append((n, ahead))
        made, self.made = self.made, None
        claimed = made or await self._queue.claim(call, worker, n, lease, tasks)
        self._last, self._terms = call, (worker, ahead - len(claimed.leases), lease, tasks)
        return claimed._replace(stands=self._terms[1] > 0)

    async def wait(self, timeout: float) -> bool:
        await self._told.wait()
        self._told.clear()
        return True

    async def claim_ahead(self, since: float, *, told: bool = True) -> None:
        """Make the next call, which stood from `since` on, and tell of it."""
        assert self._last is not None
        claimed = await self._queue.claim(self._last._replace(number=self._last.number + 1), *self._terms)
        self.made = claimed._replace(since=since)
        if told:
            self._told.set()


@pytest.fixture
async def ahead(backend: Backend) -> WrappedBackend:
    return WrappedBackend(backend, ClaimsAhead)


async def idle(shop: Any, ahead: WrappedBackend, name: str = "default") -> ClaimsAhead:
    """The queue, once it has been asked, and had nothing."""
    queue: ClaimsAhead = ahead.queue(name)
    await shop.until(lambda: queue._last)
    return queue


async def test_what_was_claimed_ahead_is_run(shop: Any, ahead: WrappedBackend) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    async with shop.worker(ahead, lease=LEASE):
        queue = await idle(shop, ahead)
        id = await shop.put(task)
        await queue.claim_ahead(time.monotonic())
        assert (await shop.ended(id)).attempt == 1


async def test_what_was_claimed_ahead_too_long_ago_is_not_run(shop: Any, ahead: WrappedBackend) -> None:
    """It was under way for long, or this process hung: the lease may be over, and another may have the job."""
    fences: list[int] = []

    async def quick(ctx: Any) -> None:
        fences.append(ctx.fence)

    task = shop.task(quick)
    async with shop.worker(ahead, lease=LEASE):
        queue = await idle(shop, ahead)
        id = await shop.put(task)
        await queue.claim_ahead(time.monotonic() - LEASE)
        assert (await shop.ended(id)).attempt == 1
    # It was handed back, and claimed once more.
    assert fences == [2]


async def test_a_worker_that_leaves_hands_back_what_was_claimed_for_it(shop: Any, ahead: WrappedBackend) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    async with shop.worker(ahead, lease=LEASE):
        queue = await idle(shop, ahead)
        id = await shop.put(task)
        await queue.claim_ahead(time.monotonic(), told=False)
    job = await shop.job(id)
    assert (job.state, job.attempt, job.crashes) == (State.WAITING, 0, 0)
    assert queue.asked[-1] == (0, 0)


@pytest.mark.parametrize(("concurrency", "others", "shared"), [(1, 0, 1), (10, 0, 10), (10, 1, 5), (1, 1, 0)])
async def test_no_more_is_claimed_ahead_than_there_is_room_for_from_all_queues_together(
    shop: Any, ahead: WrappedBackend, concurrency: int, others: int, shared: int
) -> None:
    async def quick() -> None: ...

    shop.task(quick)
    for number in range(others):
        shop.task(quick, name=f"quick{number}", queue=f"queue{number}")
    async with shop.worker(ahead, concurrency=concurrency):
        queue = await idle(shop, ahead)
        assert queue.asked[0] == (concurrency, shared)
