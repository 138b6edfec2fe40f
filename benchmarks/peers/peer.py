"""What a contestant does for the benchmarks, and what it is told."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol

ONE, FLIGHT, BATCH = "one by one", "100 in flight", "batches of 1,000"
IN_FLIGHT, IN_BATCH = 100, 1_000

Hit = Callable[[float], None]
"""What every job does: it says that it began, and when it had been sent."""


class NotOffered(Exception):
    """It cannot do that, or would be shown at its worst."""


class Told(NamedTuple):
    """How to run."""

    url: str
    concurrency: int
    """Jobs at a time; zero: the contestant's own best."""
    keep: bool = False
    """Whether results are kept."""
    keys: int = 0
    """Over how many ordering keys jobs are spread, by who knows them."""
    uvloop: bool = True


class Peer(Protocol):
    """One contestant."""

    ways: Sequence[str]
    """How it can enqueue."""

    def work(self, told: Told, hit: Hit) -> None:
        """Run jobs until killed."""
        ...

    def put(self, told: Told, way: str, jobs: int, timer: "Timer") -> None:
        """Enqueue so many jobs, with the timer running while that lasts, and not while it connects."""
        ...

    def call(self, told: Told, pause: Callable[[], float], samples: int, taken: Callable[[float, float], None]) -> None:
        """
        Enqueue a job and wait for its result, so many times, `pause()` seconds after the last.

        Each job is given the time at which it is sent. `taken` is told that, and when the result was there.
        """
        ...


class Timer(Protocol):
    """Runs within its block."""

    def __enter__(self) -> object: ...
    def __exit__(self, *_: object) -> None: ...


def run(told: Told, work: Coroutine[Any, Any, None]) -> None:
    """Run on the loop that all asyncio contestants get."""
    factory = None
    if told.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


async def put_async(way: str, jobs: int, timer: Timer, one: Callable[[], Awaitable[object]]) -> None:
    """Enqueue one by one, or some in flight."""
    with timer:
        if way == ONE:
            for _ in range(jobs):
                await one()
            return
        for _ in range(jobs // IN_FLIGHT):
            await asyncio.gather(*(one() for _ in range(IN_FLIGHT)))
