"""No-op jobs, from the first enqueue until the last has run, in one process: fifoq on memory and taskiq's broker."""

import asyncio
from collections.abc import Iterator
from typing import Any

from benchmarks.contestants.in_memory import CONTESTANTS, FLIGHT, KEYS, Opened, Shape
from benchmarks.counter import JobCounter
from benchmarks.measure import Pace, Run, Stopwatch, interleaved, table

SHAPES = (
    Shape("no arguments", arguments=False),
    Shape("3 arguments", arguments=True),
    Shape(f"3 arguments, {KEYS} keys", arguments=True, keyed=True),
    Shape(f"3 arguments, {KEYS} keys, kept", arguments=True, keyed=True, kept=True),
)
HEAD = ["job", "enqueued", "fifoq jobs/s", "taskiq jobs/s", "ratio", "fifoq CPU µs", "taskiq CPU µs", "ratio"]
WAYS = ("one by one", f"{FLIGHT} in flight", f"batches of {FLIGHT}")


def calls(shape: Shape, jobs: int) -> Iterator[tuple[Any, ...]]:
    """The arguments of so many jobs."""
    for number in range(jobs):
        yield (f"match-{number % KEYS}", number, 3) if shape.arguments else ()


async def enqueue(contestant: Opened, way: str, shape: Shape, jobs: int) -> None:
    """Enqueue so many jobs in one of the WAYS."""
    if way == WAYS[0]:
        for call in calls(shape, jobs):
            await contestant.one(*call)
        return
    flight: list[tuple[Any, ...]] = []
    for call in calls(shape, jobs):
        flight.append(call)
        if len(flight) == FLIGHT:
            if way == WAYS[1]:
                await asyncio.gather(*(contestant.one(*each) for each in flight))
            else:
                await contestant.batch(flight)
            flight = []


async def measure(name: str, shape: Shape, way: str, jobs: int, concurrency: int = 100) -> Pace:
    """Return the pace of one round: from the first enqueue to the last run."""
    counter = JobCounter()
    async with CONTESTANTS[name](shape, counter, concurrency) as contestant:
        # A few jobs to warm up: connections, caches, the worker's first claim.
        counter.expect(FLIGHT)
        await enqueue(contestant, way, shape, FLIGHT)
        await counter.all_ran()
        counter.expect(jobs)
        watch = Stopwatch()
        await enqueue(contestant, way, shape, jobs)
        await counter.all_ran()
        return watch.pace(jobs)


def round_of(name: str, shape: Shape, way: str, jobs: int) -> Run:
    return lambda: measure(name, shape, way, jobs)


async def compare(jobs: int, rounds: int) -> str:
    """Return the table of all shapes and ways, both contestants and their ratio."""
    rows: list[list[str]] = []
    for shape in SHAPES:
        for way in WAYS:
            paces = await interleaved({name: round_of(name, shape, way, jobs) for name in CONTESTANTS}, rounds)
            ours, theirs = paces["fifoq"], paces["taskiq"]
            ratio = f"{ours.rate.median / theirs.rate.median:.2f}"
            of_cost = f"{theirs.cost.median / ours.cost.median:.2f}"
            costs = f"{ours.cost.median:.1f}", f"{theirs.cost.median:.1f}"
            rows.append([shape.name, way, str(ours.rate), str(theirs.rate), ratio, *costs, of_cost])
            print(f"  {shape.name}, {way}: {ratio}; by processor time {of_cost}", flush=True)
    return table(HEAD, rows)
