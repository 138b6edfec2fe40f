"""Ten thousand jobs over a hundred keys, with random work, failures and retries, through a real worker."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable

import pytest

from fifoq import Context, Fifoq, GiveUp, Limit, Retry, RetryAfter
from fifoq.limits import GateSettings
from fifoq.testing.history import (
    Asked,
    Bounds,
    Ended,
    Event,
    MemoryLog,
    Producer,
    Started,
    attempt,
    check,
    write_finals,
)

JOBS, KEYS, SLOTS, TENANTS = 10_000, 100, 100, 20


def chance(seed: str) -> float:
    """A random number that the same attempt of the same job gets in each run."""
    return random.Random(seed).random()


def peak(events: Iterable[Event], task: str | None = None) -> int:
    """How many attempts, of a task or of all, ran at a time at most."""
    starts = {event.fence: event for event in events if isinstance(event, Started) and task in (None, event.task)}
    changes = [(event.at, 1) for event in starts.values()]
    changes += [(event.at, -1) for event in events if isinstance(event, Ended) and event.fence in starts]
    running = most = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most


async def test_order_and_limits_hold_through_random_work_failures_and_retries(url: str, log: MemoryLog) -> None:
    tasks = Fifoq(url)
    tasks.queue("league", limit=80)
    limits = [Limit(60), Limit(4, by="tenant")]

    @tasks.task(queue="league", key="match", limit=limits, retry=Retry(attempts=6, backoff=0.004))
    async def play(ctx: Context, match: str, tenant: int, number: int) -> int:
        with attempt(log, ctx, str(tenant)) as effect:
            luck = chance(f"{number} {ctx.attempt}")
            await asyncio.sleep(0.01 + 0.04 * chance(f"work {number} {ctx.attempt}"))
            if luck < 0.08 and ctx.attempt < 5:
                raise ValueError("bad luck")
            if luck < 0.10 and ctx.attempt < 5:
                raise RetryAfter(0.002)
            if luck < 0.11:
                raise GiveUp("very bad luck")
            effect()
        return number

    @tasks.task(queue="league", limit=30)
    async def report(ctx: Context, number: int) -> None:
        with attempt(log, ctx) as effect:
            await asyncio.sleep(0.01)
            effect()

    producer = Producer(log)

    async def enqueue(number: int) -> None:
        id, key = f"job-{number}", f"match-{number % KEYS}"
        if number % 10 == 0:
            await producer.enqueue("league", id, None, lambda: report.options(id=id).enqueue(number))
        else:
            match = play.options(id=id)
            await producer.enqueue("league", id, key, lambda: match.enqueue(key, number % TENANTS, number))

    async with tasks:
        async with tasks.worker(concurrency=SLOTS):
            for first in range(0, JOBS, 500):
                await asyncio.gather(*(enqueue(number) for number in range(first, first + 500)))
        await tasks.worker(concurrency=SLOTS).drain()
        await write_finals(log, tasks.jobs())

    bounds: Bounds = {
        ("league", None): GateSettings.of(80),
        ("league", "play"): GateSettings.of(limits),
        ("league", "report"): GateSettings.of(30),
    }
    outcome = check(log.events, bounds)
    assert outcome.ok, str(outcome)
    assert outcome.jobs == JOBS
    assert outcome.attempts > 1.05 * JOBS, "failures were to be retried"
    # The limits were not merely kept, they were what held the jobs back.
    assert peak(log.events, "play") == 60
    assert peak(log.events) > 60


async def test_a_hundred_slots_keep_a_hundred_keys_busy(url: str, log: MemoryLog) -> None:
    """
    The run takes no longer than 1.2 times the longest key's own work.

    Own work is measured, not nominal: the time from the first to the last line of each attempt, summed up over a key.
    A busy machine wakes sleepers late, which lengthens the work and the run alike; what the ratio leaves for fifoq are
    the gaps between a key's jobs: 20 % of some 60 ms in memory, many times what a settle and a claim cost here. Where
    those cost milliseconds, work takes longer, and there are fewer jobs of it. Nor is the time that a disk takes for
    a flush fifoq's own: a store that can do without one does so here.
    """
    jobs, pace = (JOBS, 1.0) if url.startswith("memory:") else (JOBS // 3, 3.0)
    tasks = Fifoq(f"{url}?synchronous=normal" if url.startswith("sqlite:") else url)

    @tasks.task(key="match", retry=Retry(attempts=6, backoff=0.0))
    async def play(ctx: Context, match: str, number: int) -> None:
        with attempt(log, ctx) as effect:
            await asyncio.sleep(pace * (0.01 + 0.1 * chance(f"work {number} {ctx.attempt}")))
            if chance(f"{number} {ctx.attempt}") < 0.1 and ctx.attempt < 5:
                raise ValueError("bad luck")
            effect()

    producer = Producer(log)

    async def enqueue(number: int) -> None:
        id, key = f"job-{number}", f"match-{number % KEYS}"
        await producer.enqueue("default", id, key, lambda: play.options(id=id).enqueue(key, number))

    async with tasks:
        await asyncio.gather(*(enqueue(number) for number in range(jobs)))
        await tasks.worker(concurrency=SLOTS).drain()
        await write_finals(log, tasks.jobs())

    outcome = check(log.events, {("default", None): GateSettings(limit=SLOTS)})
    assert outcome.ok, str(outcome)
    assert outcome.jobs == jobs
    assert outcome.attempts > 1.05 * jobs, "failures were to be retried"
    assert_busy(log.events)


async def test_too_few_slots_are_seen(url: str, log: MemoryLog) -> None:
    """The bound itself is proven: with a slot for every fourth key it does not hold."""
    tasks = Fifoq(url)

    @tasks.task(key="match")
    async def play(ctx: Context, match: str) -> None:
        with attempt(log, ctx):
            await asyncio.sleep(0.02)

    producer = Producer(log)
    async with tasks:
        for number in range(100):
            id, key = str(number), f"match-{number % 20}"
            await producer.enqueue("default", id, key, lambda id=id, key=key: play.options(id=id).enqueue(key))
        await tasks.worker(concurrency=5).drain()
    with pytest.raises(AssertionError, match="it took"):
        assert_busy(log.events)


def assert_busy(events: list[Event]) -> None:
    keys = {event.job: event.key for event in events if isinstance(event, Asked)}
    starts = {event.fence: event for event in events if isinstance(event, Started)}
    ends = [event for event in events if isinstance(event, Ended)]
    work: dict[str | None, int] = defaultdict(int)
    for end in ends:
        work[keys[end.job]] += end.at - starts[end.fence].at
    longest = max(work.values()) / 1e9
    elapsed = (max(end.at for end in ends) - min(start.at for start in starts.values())) / 1e9
    assert elapsed <= 1.2 * longest, f"it took {elapsed:.2f} s; the longest key's own work was {longest:.2f} s"
