"""The interface of a contestant on Redis, and tools that several of them use."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol

ONE, FLIGHT, BATCH = "one by one", "100 in flight", "batches of 1,000"
IN_FLIGHT, IN_BATCH = 100, 1_000

Started = Callable[[float], None]
"""Every job calls it first, with the time at which it was sent (zero if the job was not given that)."""


class NotOffered(Exception):
    """The contestant cannot do that, or the result would be unfair to it."""


class Options(NamedTuple):
    """The settings of one measurement."""

    url: str
    concurrency: int
    """Jobs at a time; zero: the best value for the contestant."""
    keep: bool = False
    """Whether results are kept."""
    keys: int = 0
    """The number of ordering keys of the jobs, for a contestant that has such keys."""
    uvloop: bool = True


class Contestant(Protocol):
    """One contestant."""

    ways: Sequence[str]
    """The ways in which it can enqueue."""

    def work(self, options: Options, started: Started) -> None:
        """Run jobs until killed."""
        ...

    def put(self, options: Options, way: str, jobs: int, timer: "Timer") -> None:
        """Enqueue so many jobs. The timer runs meanwhile, and not during the connect."""
        ...

    def call(
        self, options: Options, pause: Callable[[], float], samples: int, measured: Callable[[float, float], None]
    ) -> None:
        """
        Enqueue a job and wait for its result, so many times, each `pause()` seconds after the one before.

        Each job gets the time at which it is sent. `measured` is called with that, and with the time of the result.
        """
        ...


class Timer(Protocol):
    """Measures the time of its block."""

    def __enter__(self) -> object: ...
    def __exit__(self, *_: object) -> None: ...


def run(options: Options, work: Coroutine[Any, Any, None]) -> None:
    """Run on the same kind of event loop for all asyncio contestants."""
    factory = None
    if options.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


async def put_async(way: str, jobs: int, timer: Timer, one: Callable[[], Awaitable[object]]) -> None:
    """Enqueue so many jobs by awaiting `one`: one by one, or several in flight."""
    with timer:
        if way == ONE:
            for _ in range(jobs):
                await one()
            return
        for _ in range(jobs // IN_FLIGHT):
            await asyncio.gather(*(one() for _ in range(IN_FLIGHT)))
