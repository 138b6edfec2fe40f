"""SAQ: the asyncio one that enqueues fastest."""

from collections.abc import Callable
from typing import Any

import redis.asyncio
import saq
from saq.queue.redis import RedisQueue

from benchmarks.peers.peer import FLIGHT, ONE, Hit, NotOffered, Timer, Told, put_async, run


class Saq:
    ways = (ONE, FLIGHT)

    def _make(self, told: Told) -> RedisQueue:
        # By default redis-py gives it a hundred connections, and it fails for want of more.
        return RedisQueue(redis.asyncio.Redis.from_url(told.url, max_connections=1_000))

    def work(self, told: Told, hit: Hit) -> None:
        run(told, self._work(told, hit))

    async def _work(self, told: Told, hit: Hit) -> None:
        async def noop(ctx: Any, *, sent: float = 0.0) -> None:
            hit(sent)

        await saq.Worker(self._make(told), functions=[("noop", noop)], concurrency=told.concurrency or 100).start()

    def put(self, told: Told, way: str, jobs: int, timer: Timer) -> None:
        run(told, self._put(told, way, jobs, timer))

    async def _put(self, told: Told, way: str, jobs: int, timer: Timer) -> None:
        queue = self._make(told)
        await queue.connect()
        await put_async(way, jobs, timer, lambda: queue.enqueue("noop", ttl=3600 if told.keep else -1))
        await queue.disconnect()

    def call(self, told: Told, pause: Callable[[], float], samples: int, taken: Callable[[float, float], None]) -> None:
        raise NotOffered("it subscribes to a result once the job is on its way, and may miss it")


peer = Saq()
