"""fifoq on Redis."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from benchmarks.peers.peer import BATCH, FLIGHT, IN_BATCH, ONE, Hit, Timer, Told, put_async, run
from fifoq import Fifoq

KEPT = 3_600.0


class Fifoqs:
    ways = (ONE, FLIGHT, BATCH)

    def _make(self, told: Told, hit: Hit | None = None) -> tuple[Fifoq, Any]:
        tasks = Fifoq(told.url)

        @tasks.task(retain=KEPT if told.keep else 0.0)
        async def noop(sent: float = 0.0) -> None:
            assert hit is not None
            hit(sent)

        @tasks.task(retain=KEPT if told.keep else 0.0, key="key")
        async def keyed(key: int, sent: float = 0.0) -> None:
            assert hit is not None
            hit(sent)

        return tasks, keyed if told.keys else noop

    def work(self, told: Told, hit: Hit) -> None:
        tasks, _ = self._make(told, hit)
        run(told, tasks.worker(concurrency=told.concurrency or 100).run())

    def put(self, told: Told, way: str, jobs: int, timer: Timer) -> None:
        run(told, self._put(told, way, jobs, timer))

    async def _put(self, told: Told, way: str, jobs: int, timer: Timer) -> None:
        tasks, noop = self._make(told)
        async with tasks:
            await tasks.stats()
            if way != BATCH:
                numbers = iter(range(jobs))
                one = (lambda: noop.enqueue(next(numbers) % told.keys)) if told.keys else noop.enqueue
                await put_async(way, jobs, timer, one)
                return
            with timer:
                for first in range(0, jobs, IN_BATCH):
                    numbers = range(first, min(first + IN_BATCH, jobs))
                    await tasks.enqueue_many(
                        [noop.bind(number % told.keys) if told.keys else noop.bind() for number in numbers]
                    )

    def call(self, told: Told, pause: Callable[[], float], samples: int, taken: Callable[[float, float], None]) -> None:
        run(told, self._call(told, pause, samples, taken))

    async def _call(
        self, told: Told, pause: Callable[[], float], samples: int, taken: Callable[[float, float], None]
    ) -> None:
        tasks, noop = self._make(told)
        async with tasks:
            for _ in range(samples):
                await asyncio.sleep(pause())
                sent = time.monotonic()
                await noop.call(sent)
                taken(sent, time.monotonic())


peer = Fifoqs()
