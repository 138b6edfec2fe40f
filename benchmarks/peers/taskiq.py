"""taskiq with the stream broker of taskiq-redis: the fastest asyncio one that delivers at least once."""

from collections.abc import Callable
from typing import Any

import taskiq.api
import taskiq_redis

from benchmarks.peers.peer import FLIGHT, ONE, Hit, NotOffered, Timer, Told, put_async, run


class Taskiq:
    ways = (ONE, FLIGHT)

    def _make(self, told: Told, hit: Hit | None = None) -> tuple[Any, Any]:
        broker = taskiq_redis.RedisStreamBroker(told.url)
        if told.keep:
            broker = broker.with_result_backend(taskiq_redis.RedisAsyncResultBackend(told.url, result_ex_time=3600))

        @broker.task
        async def noop(sent: float = 0.0) -> None:
            assert hit is not None
            hit(sent)

        return broker, noop

    def work(self, told: Told, hit: Hit) -> None:
        run(told, self._work(told, hit))

    async def _work(self, told: Told, hit: Hit) -> None:
        broker, _ = self._make(told, hit)
        broker.is_worker_process = True
        width = told.concurrency or 100
        await taskiq.api.run_receiver_task(
            broker, max_async_tasks=width, max_prefetch=width if width > 1 else 0, run_startup=True
        )

    def put(self, told: Told, way: str, jobs: int, timer: Timer) -> None:
        run(told, self._put(told, way, jobs, timer))

    async def _put(self, told: Told, way: str, jobs: int, timer: Timer) -> None:
        broker, noop = self._make(told)
        await broker.startup()
        await put_async(way, jobs, timer, noop.kiq)
        await broker.shutdown()

    def call(self, told: Told, pause: Callable[[], float], samples: int, taken: Callable[[float, float], None]) -> None:
        raise NotOffered("its results are polled for: 200 ms, or what one asks for")


peer = Taskiq()
