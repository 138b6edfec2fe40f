"""Enqueue and run no-op jobs until all have run, in one process: fifoq on memory against taskiq's in-memory broker."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

from taskiq import InMemoryBroker
from taskiq.result_backends.dummy import DummyResultBackend

from benchmarks.measure import Pace, Run, Watch, interleaved, table
from fifoq import Fifoq

KEYS = 100
FLIGHT = 100


class Shape(NamedTuple):
    """What a job looks like."""

    name: str
    arguments: bool
    keyed: bool = False
    kept: bool = False
    """Whether ended jobs and their results are kept, as is fifoq's default; else neither side keeps them."""


SHAPES = (
    Shape("no arguments", arguments=False),
    Shape("3 arguments", arguments=True),
    Shape(f"3 arguments, {KEYS} keys", arguments=True, keyed=True),
    Shape(f"3 arguments, {KEYS} keys, kept", arguments=True, keyed=True, kept=True),
)
HEAD = ["job", "enqueued", "fifoq jobs/s", "taskiq jobs/s", "ratio", "fifoq CPU µs", "taskiq CPU µs", "ratio"]
WAYS = ("one by one", f"{FLIGHT} in flight", f"batches of {FLIGHT}")


class Tally:
    """Counts jobs that ran, and tells when it was all of them."""

    def __init__(self) -> None:
        self.left = 0
        self._done = asyncio.Event()

    def expect(self, jobs: int) -> None:
        self.left = jobs
        self._done.clear()

    def count(self) -> None:
        self.left -= 1
        if not self.left:
            self._done.set()

    async def all_ran(self) -> None:
        await self._done.wait()


class Side(NamedTuple):
    """One contestant, ready: how it enqueues one job, and a batch."""

    one: Callable[..., Awaitable[Any]]
    batch: Callable[[list[tuple[Any, ...]]], Awaitable[Any]]


@asynccontextmanager
async def fifoq_side(shape: Shape, tally: Tally, concurrency: int) -> AsyncGenerator[Side]:
    tasks = Fifoq("memory://")
    retain = None if shape.kept else 0.0

    @tasks.task(retain=retain)
    async def plain() -> None:
        tally.count()

    @tasks.task(retain=retain, key="match" if shape.keyed else None)
    async def given(match: str, tick: int, goals: int) -> None:
        tally.count()

    noop: Any = given if shape.arguments else plain

    async def batch(calls: list[tuple[Any, ...]]) -> None:
        await tasks.enqueue_many([noop.bind(*call) for call in calls])

    async with tasks, tasks.worker(concurrency=concurrency):
        yield Side(noop.enqueue, batch)


@asynccontextmanager
async def taskiq_side(shape: Shape, tally: Tally, concurrency: int) -> AsyncGenerator[Side]:
    broker = InMemoryBroker(max_async_tasks=concurrency)
    if not shape.kept:
        broker = broker.with_result_backend(DummyResultBackend())

    @broker.task
    async def plain() -> None:
        tally.count()

    @broker.task
    async def given(match: str, tick: int, goals: int) -> None:
        tally.count()

    noop: Any = given if shape.arguments else plain

    async def batch(calls: list[tuple[Any, ...]]) -> None:
        # It has no batches: this is the cheapest way of its own.
        for call in calls:
            await noop.kiq(*call)

    await broker.startup()
    try:
        yield Side(noop.kiq, batch)
    finally:
        await broker.shutdown()


SIDES: dict[str, Callable[[Shape, Tally, int], AbstractAsyncContextManager[Side]]] = {
    "fifoq": fifoq_side,
    "taskiq": taskiq_side,
}


def calls(shape: Shape, jobs: int) -> Iterator[tuple[Any, ...]]:
    """The arguments of so many jobs."""
    for number in range(jobs):
        yield (f"match-{number % KEYS}", number, 3) if shape.arguments else ()


async def enqueue(side: Side, way: str, shape: Shape, jobs: int) -> None:
    """Enqueue so many jobs in one of the WAYS."""
    if way == WAYS[0]:
        for call in calls(shape, jobs):
            await side.one(*call)
        return
    flight: list[tuple[Any, ...]] = []
    for call in calls(shape, jobs):
        flight.append(call)
        if len(flight) == FLIGHT:
            if way == WAYS[1]:
                await asyncio.gather(*(side.one(*each) for each in flight))
            else:
                await side.batch(flight)
            flight = []


async def measure(name: str, shape: Shape, way: str, jobs: int, concurrency: int = 100) -> Pace:
    """Return the pace of one round: from the first enqueue to the last run."""
    tally = Tally()
    async with SIDES[name](shape, tally, concurrency) as side:
        # A few to warm up: connections, caches, the worker's first claim.
        tally.expect(FLIGHT)
        await enqueue(side, way, shape, FLIGHT)
        await tally.all_ran()
        tally.expect(jobs)
        watch = Watch()
        await enqueue(side, way, shape, jobs)
        await tally.all_ran()
        return watch.pace(jobs)


def round_of(name: str, shape: Shape, way: str, jobs: int) -> Run:
    return lambda: measure(name, shape, way, jobs)


async def compare(jobs: int, rounds: int) -> str:
    """Return the table of all shapes and ways, both sides and their ratio."""
    rows: list[list[str]] = []
    for shape in SHAPES:
        for way in WAYS:
            paces = await interleaved({name: round_of(name, shape, way, jobs) for name in SIDES}, rounds)
            ours, theirs = paces["fifoq"], paces["taskiq"]
            ratio = f"{ours.rate.median / theirs.rate.median:.2f}"
            of_cost = f"{theirs.cost.median / ours.cost.median:.2f}"
            costs = f"{ours.cost.median:.1f}", f"{theirs.cost.median:.1f}"
            rows.append([shape.name, way, str(ours.rate), str(theirs.rate), ratio, *costs, of_cost])
            print(f"  {shape.name}, {way}: {ratio}; by processor time {of_cost}", flush=True)
    return table(HEAD, rows)
