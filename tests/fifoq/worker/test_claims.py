"""Claims: when, how many jobs, of which queues, and those that the backend makes ahead of the next call."""

import asyncio
import threading
import time
from typing import Any

import pytest

from fifoq.errors import BackendFull, BackendUnavailable
from fifoq.limits import GateSettings
from fifoq.queue import Backend, Call, Declare, Override
from fifoq.record import Claimed, Filter, State
from fifoq.retry import Retry
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue
from fifoq.worker import claims
from fifoq.worker.claims import ClaimLoop


async def test_a_worker_never_runs_more_than_its_concurrency(shop: Any) -> None:
    now, peak = 0, 0

    async def count() -> None:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0.001)
        now -= 1

    task = shop.task(count)
    await shop.put_all([shop.spec(task) for _ in range(100)])
    await shop.worker(concurrency=7).drain()
    assert peak == 7


async def test_sync_jobs_take_no_more_than_the_threads_and_leave_the_rest_to_others(shop: Any) -> None:
    lock, go = threading.Lock(), threading.Event()
    now = peak = 0

    def count() -> None:
        nonlocal now, peak
        with lock:
            now += 1
            peak = max(peak, now)
        go.wait(10.0)
        with lock:
            now -= 1

    async def quick() -> None: ...

    sync, quick_task = shop.task(count), shop.task(quick)
    blocked = [await shop.put(sync) for _ in range(10)]
    free = [await shop.put(quick_task) for _ in range(10)]
    async with shop.worker(concurrency=8, threads=3):
        for id in free:  # they are behind all the sync ones, and still run
            await shop.ended(id)
        assert (await shop.states())[State.RUNNING] == 3
        await shop.until(lambda: now == 3)
        go.set()
        for id in blocked:
            await shop.ended(id)
    assert peak == 3


async def test_a_new_job_runs_within_a_second_even_without_a_notification(shop: Any, outages: Any) -> None:
    async def quick() -> None: ...

    outages.deaf = True
    task = shop.task(quick)
    async with shop.worker():
        await asyncio.sleep(0.1)
        id = await shop.put(task)
        loop = asyncio.get_running_loop()
        start = loop.time()
        await shop.ended(id)
        assert loop.time() - start < 1.0


def test_polling_leaves_room_below_a_second() -> None:
    assert claims.POLL_EVERY < 0.9


async def test_a_notification_wakes_an_idle_worker(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "POLL_EVERY", 1_000.0)

    async def quick() -> None: ...

    task = shop.task(quick)
    async with shop.worker():
        for _ in range(200):
            await shop.ended(await shop.put(task), timeout=5.0)


async def test_no_wake_up_is_lost_under_a_flood(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "POLL_EVERY", 1_000.0)

    async def quick() -> None:
        await asyncio.sleep(0)

    task = shop.task(quick)

    async def flood(key: str) -> None:
        for n in range(100):
            id = await shop.put(task, key=key)
            for _ in range(n % 5):
                await asyncio.sleep(0)
            if n % 7 == 0:
                await shop.ended(id, timeout=5.0)

    async with shop.worker(concurrency=3):
        await asyncio.gather(*(flood(str(n % 4)) for n in range(8)))
        for job in (await shop.backend.queue("default").find(Filter(), 0, 1_000)).records:
            await shop.ended(job.spec.id, timeout=5.0)


async def test_a_delayed_job_and_a_back_off_are_claimed_when_they_are_due(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "POLL_EVERY", 1_000.0)
    tries = []

    async def second_time() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError

    id = await shop.put(shop.task(second_time, retry=Retry(2, backoff=0.05)), delay=50_000)
    async with shop.worker():
        assert (await shop.ended(id, timeout=5.0)).attempt == 2


async def test_queues_have_their_turns(shop: Any) -> None:
    order = []

    def named(queue: str) -> Any:
        async def note() -> None:
            order.append(queue)
            await asyncio.sleep(0)

        return shop.task(note, queue=queue)

    for queue in ("a", "b", "c"):
        task = named(queue)
        await shop.put_all([shop.spec(task) for _ in range(30)], queue)
    await shop.worker(concurrency=1).drain()
    for start in range(0, 90, 3):
        assert set(order[start : start + 3]) == {"a", "b", "c"}


async def test_limits_of_the_store_are_never_exceeded(shop: Any) -> None:
    now: dict[str, int] = {}
    peak: dict[str, int] = {}

    async def count(tenant: str) -> None:
        for what in ("all", tenant):
            now[what] = now.get(what, 0) + 1
            peak[what] = max(peak.get(what, 0), now[what])
        await asyncio.sleep(0.0005)
        for what in ("all", tenant):
            now[what] -= 1

    task = shop.task(count)
    await shop.backend.queue("default").configure([Declare("count", GateSettings(limit=5, value_limit=2))])
    await shop.put_all([shop.spec(task, f"t{n % 4}", value=f"t{n % 4}") for n in range(200)])
    workers = [shop.worker(concurrency=20) for _ in range(2)]
    await asyncio.gather(*(worker.drain() for worker in workers))
    assert peak.pop("all") <= 5
    assert set(peak.values()) == {2}


async def test_a_raised_limit_is_noticed(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "POLL_EVERY", 1_000.0)
    go, running = asyncio.Event(), 0

    async def wait() -> None:
        nonlocal running
        running += 1
        await go.wait()

    task = shop.task(wait)
    queue = shop.backend.queue("default")
    await queue.configure([Declare(None, GateSettings(limit=1))])
    ids = [await shop.put(task) for _ in range(3)]
    async with shop.worker():
        await shop.until(lambda: running)
        await queue.configure([Override(None, GateSettings(limit=3))])
        await shop.until(lambda: running == 3)
        go.set()
        for id in ids:
            await shop.ended(id)


class Passes:
    """Counts how often the claim loop looks for due queues."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        due = ClaimLoop._due

        def counted(loop: ClaimLoop) -> Any:
            self.count += 1
            return due(loop)

        monkeypatch.setattr(ClaimLoop, "_due", counted)

    async def in_peace(self) -> int:
        await asyncio.sleep(0.1)
        before = self.count
        await asyncio.sleep(0.3)
        return self.count - before


async def test_a_worker_without_room_rests(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passes, go = Passes(monkeypatch), asyncio.Event()

    async def wait() -> None:
        await go.wait()

    task = shop.task(wait)
    await shop.put_all([shop.spec(task) for _ in range(5)])
    await shop.put(task, delay=150_000)  # a timer passes meanwhile
    async with shop.worker(concurrency=2):
        assert await passes.in_peace() <= 3
        go.set()
        await shop.until(lambda: passes.count > 3)


async def test_a_worker_without_free_threads_rests(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passes, go = Passes(monkeypatch), threading.Event()

    def wait() -> None:
        go.wait(10.0)

    async def quick() -> None: ...

    task = shop.task(wait)
    shop.task(quick)
    ids = [await shop.put(task) for _ in range(5)]
    async with shop.worker(concurrency=10, threads=2):
        assert await passes.in_peace() <= 3
        go.set()
        for id in ids:
            await shop.ended(id)


async def test_an_idle_worker_and_one_without_tasks_rest(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def quick() -> None: ...

    passes = Passes(monkeypatch)
    async with shop.worker():
        assert await passes.in_peace() <= 2
        shop.task(quick)
        async with shop.worker():
            assert await passes.in_peace() <= 4


async def test_a_narrow_runner_does_not_make_for_many_small_claims(shop: Any, outages: Any) -> None:
    go = threading.Event()

    async def quick() -> None: ...

    def sync() -> None:
        go.wait(10.0)

    task = shop.task(quick)
    await shop.put_all([shop.spec(task) for _ in range(300)])
    await shop.put(shop.task(sync))
    worker = shop.worker(concurrency=100, threads=2)
    async with worker:
        await shop.until(lambda: worker._runtime.claimed == 301)
        calls = outages.calls.count("claim")
        go.set()
    assert calls <= 20


async def test_a_queue_that_takes_no_outcomes_gets_no_more_claims(
    shop: Any, outages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0

    async def quick() -> None:
        nonlocal runs
        runs += 1

    async def full(*args: Any) -> Any:
        raise BackendFull("no room")

    task = shop.task(quick)
    await shop.put_all([shop.spec(task) for _ in range(500)])
    queue = outages._backend.queue("default")
    with monkeypatch.context() as patch:
        patch.setattr(queue, "settle", full)
        async with shop.worker(concurrency=5, grace=0.0):
            await asyncio.sleep(0.5)
    assert runs <= 20


# ---- jobs that the backend claims ahead of the next call ----

LEASE = 60.0


class ClaimsAhead(WrappedQueue):
    """A queue whose claims stand: `claim_ahead` makes the next one. There are no other notifications."""

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self.claims: list[tuple[int, int]] = []
        """For each claim: for how many jobs, and for how many the next one may be made ahead."""
        self.made: Claimed | None = None
        self.fails = False
        """The next claim does not reach the store."""
        self._notified = asyncio.Event()
        self._last: Call | None = None
        self._terms: Any = None

    async def claim(self, call: Call, worker: str, n: int, lease: int, tasks: Any, ahead: int = 0) -> Claimed:
        self.claims.append((n, ahead))
        if self.fails:
            self.fails = False
            raise BackendUnavailable("It is away.")
        made, self.made = self.made, None
        if self._last is None or call.number != self._last.number + 1:
            made = None  # a newer call does not get those leases
        claimed = made or await self._queue.claim(call, worker, n, lease, tasks)
        self._last, self._terms = call, (worker, ahead - len(claimed.leases), lease, tasks)
        return claimed._replace(stands=self._terms[1] > 0)

    async def wait(self, timeout: float) -> bool:
        await self._notified.wait()
        self._notified.clear()
        return True

    async def claim_ahead(self, since: float, *, notify: bool = True) -> None:
        """Make the next call, as of `since`, and notify the worker."""
        assert self._last is not None
        claimed = await self._queue.claim(self._last._replace(number=self._last.number + 1), *self._terms)
        self.made = claimed._replace(since=since)
        if notify:
            self._notified.set()


@pytest.fixture
async def ahead(backend: Backend) -> WrappedBackend:
    return WrappedBackend(backend, ClaimsAhead)


async def idle(shop: Any, ahead: WrappedBackend, name: str = "default") -> ClaimsAhead:
    """Return the queue, once a claim found nothing."""
    queue: ClaimsAhead = ahead.queue(name)
    await shop.until(lambda: queue._last)
    return queue


async def test_a_job_that_was_claimed_ahead_is_run(shop: Any, ahead: WrappedBackend) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    async with shop.worker(ahead, lease=LEASE):
        queue = await idle(shop, ahead)
        id = await shop.put(task)
        await queue.claim_ahead(time.monotonic())
        assert (await shop.ended(id)).attempt == 1


async def test_a_job_that_was_claimed_ahead_is_run_though_the_claim_that_fetches_it_fails_at_first(
    shop: Any, ahead: WrappedBackend
) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    async with shop.worker(ahead, lease=LEASE):
        queue = await idle(shop, ahead)
        id = await shop.put(task)
        queue.fails = True
        await queue.claim_ahead(time.monotonic())
        assert (await shop.ended(id)).attempt == 1


async def test_a_job_that_was_claimed_ahead_too_long_ago_is_not_run(shop: Any, ahead: WrappedBackend) -> None:
    """Its reply took long, or this process hung: the lease may be over, and another worker may have the job."""
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


async def test_a_worker_that_stops_hands_back_jobs_that_were_claimed_for_it(shop: Any, ahead: WrappedBackend) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    async with shop.worker(ahead, lease=LEASE):
        queue = await idle(shop, ahead)
        id = await shop.put(task)
        await queue.claim_ahead(time.monotonic(), notify=False)
    job = await shop.job(id)
    assert (job.state, job.attempt, job.crashes) == (State.WAITING, 0, 0)
    assert queue.claims[-1] == (0, 0)


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
        assert queue.claims[0] == (concurrency, shared)
