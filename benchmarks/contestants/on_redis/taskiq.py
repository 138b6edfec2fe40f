"""taskiq with the stream broker of taskiq-redis: the fastest other asyncio contestant that delivers at least once."""

from collections.abc import Callable
from typing import Any

import taskiq.api
import taskiq_redis

from benchmarks.contestants.on_redis.contestant import FLIGHT, ONE, NotOffered, Options, Started, Timer, put_async, run


class Taskiq:
    ways = (ONE, FLIGHT)

    def _make(self, options: Options, started: Started | None = None) -> tuple[Any, Any]:
        broker = taskiq_redis.RedisStreamBroker(options.url)
        if options.keep:
            broker = broker.with_result_backend(taskiq_redis.RedisAsyncResultBackend(options.url, result_ex_time=3600))

        @broker.task
        async def noop(sent: float = 0.0) -> None:
            assert started is not None
            started(sent)

        return broker, noop

    def work(self, options: Options, started: Started) -> None:
        run(options, self._work(options, started))

    async def _work(self, options: Options, started: Started) -> None:
        broker, _ = self._make(options, started)
        broker.is_worker_process = True
        width = options.concurrency or 100
        await taskiq.api.run_receiver_task(
            broker, max_async_tasks=width, max_prefetch=width if width > 1 else 0, run_startup=True
        )

    def put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        run(options, self._put(options, way, jobs, timer))

    async def _put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        broker, noop = self._make(options)
        await broker.startup()
        await put_async(way, jobs, timer, noop.kiq)
        await broker.shutdown()

    def call(
        self, options: Options, pause: Callable[[], float], samples: int, measured: Callable[[float, float], None]
    ) -> None:
        raise NotOffered("taskiq polls for results, each 200 ms by default")


contestant = Taskiq()
