"""SAQ: the other asyncio contestant with the fastest enqueues."""

from collections.abc import Callable
from typing import Any

import redis.asyncio
import saq
from saq.queue.redis import RedisQueue

from benchmarks.contestants.on_redis.contestant import FLIGHT, ONE, NotOffered, Options, Started, Timer, put_async, run


class Saq:
    ways = (ONE, FLIGHT)

    def _make(self, options: Options) -> RedisQueue:
        # The default of redis-py is a hundred connections, and SAQ fails when it needs more.
        return RedisQueue(redis.asyncio.Redis.from_url(options.url, max_connections=1_000))

    def work(self, options: Options, started: Started) -> None:
        run(options, self._work(options, started))

    async def _work(self, options: Options, started: Started) -> None:
        async def noop(ctx: Any, *, sent: float = 0.0) -> None:
            started(sent)

        await saq.Worker(
            self._make(options), functions=[("noop", noop)], concurrency=options.concurrency or 100
        ).start()

    def put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        run(options, self._put(options, way, jobs, timer))

    async def _put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        queue = self._make(options)
        await queue.connect()
        await put_async(way, jobs, timer, lambda: queue.enqueue("noop", ttl=3600 if options.keep else -1))
        await queue.disconnect()

    def call(
        self, options: Options, pause: Callable[[], float], samples: int, measured: Callable[[float, float], None]
    ) -> None:
        raise NotOffered("SAQ subscribes to a result after the enqueue, and may miss it")


contestant = Saq()
