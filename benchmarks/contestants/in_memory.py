"""The contestants in memory, each with a worker in the same process: fifoq, and taskiq's in-memory broker."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

from taskiq import InMemoryBroker
from taskiq.result_backends.dummy import DummyResultBackend

from benchmarks.counter import JobCounter
from fifoq import Fifoq

KEYS = 100
FLIGHT = 100


class Shape(NamedTuple):
    """The jobs of a round."""

    name: str
    arguments: bool
    keyed: bool = False
    kept: bool = False
    """Whether ended jobs and their results are kept, as is fifoq's default; else no contestant keeps them."""


class Opened(NamedTuple):
    """One contestant, ready: functions that enqueue one job, and a batch."""

    one: Callable[..., Awaitable[Any]]
    batch: Callable[[list[tuple[Any, ...]]], Awaitable[Any]]


@asynccontextmanager
async def fifoq(shape: Shape, counter: JobCounter, concurrency: int) -> AsyncGenerator[Opened]:
    tasks = Fifoq("memory://")
    retain = None if shape.kept else 0.0

    @tasks.task(retain=retain)
    async def plain() -> None:
        counter.count()

    @tasks.task(retain=retain, key="match" if shape.keyed else None)
    async def given(match: str, tick: int, goals: int) -> None:
        counter.count()

    noop: Any = given if shape.arguments else plain

    async def batch(calls: list[tuple[Any, ...]]) -> None:
        await tasks.enqueue_many([noop.bind(*call) for call in calls])

    async with tasks, tasks.worker(concurrency=concurrency):
        yield Opened(noop.enqueue, batch)


@asynccontextmanager
async def taskiq(shape: Shape, counter: JobCounter, concurrency: int) -> AsyncGenerator[Opened]:
    broker = InMemoryBroker(max_async_tasks=concurrency)
    if not shape.kept:
        broker = broker.with_result_backend(DummyResultBackend())

    @broker.task
    async def plain() -> None:
        counter.count()

    @broker.task
    async def given(match: str, tick: int, goals: int) -> None:
        counter.count()

    noop: Any = given if shape.arguments else plain

    async def batch(calls: list[tuple[Any, ...]]) -> None:
        # taskiq has no batches: this is its cheapest way.
        for call in calls:
            await noop.kiq(*call)

    await broker.startup()
    try:
        yield Opened(noop.kiq, batch)
    finally:
        await broker.shutdown()


CONTESTANTS: dict[str, Callable[[Shape, JobCounter, int], AbstractAsyncContextManager[Opened]]] = {
    "fifoq": fifoq,
    "taskiq": taskiq,
}
