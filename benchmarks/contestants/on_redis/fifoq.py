"""fifoq on Redis."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from benchmarks.contestants.on_redis.contestant import (
    BATCH,
    FLIGHT,
    IN_BATCH,
    ONE,
    Options,
    Started,
    Timer,
    put_async,
    run,
)
from fifoq import Fifoq

KEPT = 3_600.0


class FifoqContestant:
    ways = (ONE, FLIGHT, BATCH)

    def _make(self, options: Options, started: Started | None = None) -> tuple[Fifoq, Any]:
        tasks = Fifoq(options.url)

        @tasks.task(retain=KEPT if options.keep else 0.0)
        async def noop(sent: float = 0.0) -> None:
            assert started is not None
            started(sent)

        @tasks.task(retain=KEPT if options.keep else 0.0, key="key")
        async def keyed(key: int, sent: float = 0.0) -> None:
            assert started is not None
            started(sent)

        return tasks, keyed if options.keys else noop

    def work(self, options: Options, started: Started) -> None:
        tasks, _ = self._make(options, started)
        run(options, tasks.worker(concurrency=options.concurrency or 100).run())

    def put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        run(options, self._put(options, way, jobs, timer))

    async def _put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        tasks, noop = self._make(options)
        async with tasks:
            await tasks.stats()
            if way != BATCH:
                numbers = iter(range(jobs))
                one = (lambda: noop.enqueue(next(numbers) % options.keys)) if options.keys else noop.enqueue
                await put_async(way, jobs, timer, one)
                return
            with timer:
                for first in range(0, jobs, IN_BATCH):
                    numbers = range(first, min(first + IN_BATCH, jobs))
                    await tasks.enqueue_many(
                        [noop.bind(number % options.keys) if options.keys else noop.bind() for number in numbers]
                    )

    def call(
        self, options: Options, pause: Callable[[], float], samples: int, measured: Callable[[float, float], None]
    ) -> None:
        run(options, self._call(options, pause, samples, measured))

    async def _call(
        self, options: Options, pause: Callable[[], float], samples: int, measured: Callable[[float, float], None]
    ) -> None:
        tasks, noop = self._make(options)
        async with tasks:
            for _ in range(samples):
                await asyncio.sleep(pause())
                sent = time.monotonic()
                await noop.call(sent)
                measured(sent, time.monotonic())


contestant = FifoqContestant()
