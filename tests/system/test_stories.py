"""The scoreboard and the peak shaver, told through the public API in one process."""

import asyncio
import threading
import time
from collections import defaultdict

import pytest

from fifoq import Context, Fifoq, JobFailed, Limit, QueueFull, Rate, ResultTimeout, Retry
from fifoq.limits import GateSettings
from fifoq.testing.history import Bounds, MemoryLog, Producer, attempt, check, write_finals

MATCHES, TICKS = 20, 25


async def test_the_scoreboard_shows_the_newest_of_each_match(url: str, log: MemoryLog) -> None:
    tasks = Fifoq(url)
    board: dict[str, list[int]] = defaultdict(list)
    all_matches = asyncio.Barrier(MATCHES)
    tasks.queue("stats", limit=50, capacity=10_000)

    @tasks.task(queue="stats", key="match_id", retry=Retry(attempts=5, backoff=0.001), timeout=30)
    async def save_stats(ctx: Context, match_id: str, tick: int) -> int:
        with attempt(log, ctx) as effect:
            if tick == 0:
                async with asyncio.timeout(60):  # no match waits for another: so each gets here
                    await all_matches.wait()
            # The older the news, the slower: whatever ignores the order ends with old news on the board.
            await asyncio.sleep(0.02 * (TICKS - tick) / TICKS)
            if (tick + ctx.attempt) % 10 == 0:
                raise ConnectionError("the database hiccups")
            board[match_id].append(tick)
            effect()
        return tick

    producer = Producer(log)
    async with tasks, tasks.worker(concurrency=100):
        for tick in range(TICKS):
            for match in (f"m{number}" for number in range(MATCHES)):
                save = save_stats.options(id=f"{match}:{tick}")
                await producer.enqueue(
                    "stats", f"{match}:{tick}", match, lambda s=save, m=match, t=tick: s.enqueue(m, t)
                )
        last = [save_stats.handle(f"m{number}:{TICKS - 1}") for number in range(MATCHES)]
        assert await asyncio.gather(*(job.result(timeout=60) for job in last)) == [TICKS - 1] * MATCHES
        await write_finals(log, tasks.jobs())

    assert board == {f"m{number}": list(range(TICKS)) for number in range(MATCHES)}
    outcome = check(log.events, {("stats", None): GateSettings(limit=50)})
    assert outcome.ok, str(outcome)


async def test_the_peak_shaver_returns_results_to_whoever_waits(url: str) -> None:
    tasks = Fifoq(url)
    seen: set[str] = set()

    @tasks.task(limit=Limit(8))
    def is_prime(x: int) -> bool:
        seen.add(threading.current_thread().name)
        return x > 1 and all(x % n for n in range(2, int(x**0.5) + 1))

    @tasks.task
    async def fail(text: str) -> None:
        raise LookupError(text)

    async with tasks, tasks.worker(concurrency=50):
        answers = await asyncio.gather(*(is_prime.options(wait=30).call(x) for x in range(200)))
        assert [x for x, prime in enumerate(answers) if prime][:8] == [2, 3, 5, 7, 11, 13, 17, 19]
        assert threading.current_thread().name not in seen
        with pytest.raises(JobFailed, match="no such thing") as caught:
            await fail.options(wait=30).call("no such thing")
    assert caught.value.type.endswith("LookupError")


async def test_beyond_its_capacity_a_task_refuses_at_once_and_takes_more_when_there_is_room(url: str) -> None:
    tasks = Fifoq(url)
    gate = asyncio.Event()

    @tasks.task(limit=2, capacity=5)
    async def work(x: int) -> int:
        await gate.wait()
        return x

    async with tasks, tasks.worker(concurrency=10):
        taken = [await work.enqueue(x) for x in range(5)]
        with pytest.raises(QueueFull) as caught:
            await work.enqueue(5)
        assert caught.value.retry_after is not None
        with pytest.raises(QueueFull) as caught:
            await tasks.enqueue_many([work.bind(x) for x in range(6)])
        assert caught.value.retry_after is None, "it never fits"
        with pytest.raises(ResultTimeout):
            await taken[4].result(timeout=0.01)
        waiting = asyncio.create_task(work.options(enqueue_timeout=30).enqueue(5))
        gate.set()
        assert [await job.result(timeout=30) for job in taken] == list(range(5))
        assert await (await waiting).result(timeout=30) == 5
        assert [job.kwargs["x"] async for job in tasks.jobs()] == list(range(6))


async def test_a_task_never_runs_more_than_its_limit_in_threads_either(url: str, log: MemoryLog) -> None:
    tasks = Fifoq(url)

    @tasks.task(limit=[Limit(6), Limit(2, by="tenant")])
    def work(ctx: Context, tenant: str, x: int) -> None:
        with attempt(log, ctx, tenant) as effect:
            time.sleep(0.002)
            effect()

    producer = Producer(log)
    async with tasks, tasks.worker(concurrency=50, threads=20) as worker:
        for x in range(200):
            job = work.options(id=str(x))
            await producer.enqueue("default", str(x), None, lambda job=job, x=x: job.enqueue(f"tenant-{x % 5}", x))
        assert worker is not None
        await asyncio.gather(*(work.handle(str(x)).result(timeout=60) for x in range(200)))
        await write_finals(log, tasks.jobs())
    outcome = check(log.events, {("default", "work"): GateSettings.of([Limit(6), Limit(2, by="tenant")])})
    assert outcome.ok, str(outcome)
    assert outcome.jobs == 200


async def test_a_rate_holds_in_every_window(url: str, log: MemoryLog) -> None:
    tasks = Fifoq(url)
    tasks.queue("slow", rate=Rate(400, burst=20))
    task_rate = Rate(200, burst=5)

    @tasks.task(queue="slow", rate=task_rate)
    async def limited(ctx: Context, x: int) -> None:
        with attempt(log, ctx) as effect:
            effect()

    @tasks.task(queue="slow")
    async def free(ctx: Context, x: int) -> None:
        with attempt(log, ctx) as effect:
            effect()

    producer = Producer(log)
    async with tasks:
        for x in range(150):
            job = (limited if x % 3 else free).options(id=str(x))
            await producer.enqueue("slow", str(x), None, lambda job=job, x=x: job.enqueue(x))
        await tasks.worker(concurrency=100).drain()
        await write_finals(log, tasks.jobs())
    bounds: Bounds = {
        ("slow", None): GateSettings.of(rate=Rate(400, burst=20)),
        ("slow", "limited"): GateSettings.of(rate=task_rate),
    }
    outcome = check(log.events, bounds)
    assert outcome.ok, str(outcome)
    assert outcome.jobs == 150
