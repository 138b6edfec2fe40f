"""arq."""

from collections.abc import Callable
from typing import Any

import arq
import arq.connections

from benchmarks.peers.peer import FLIGHT, ONE, Hit, NotOffered, Timer, Told, put_async, run


class Arq:
    ways = (ONE, FLIGHT)

    def work(self, told: Told, hit: Hit) -> None:
        run(told, self._work(told, hit))

    async def _work(self, told: Told, hit: Hit) -> None:
        async def noop(ctx: Any, sent: float = 0.0) -> None:
            hit(sent)

        worker = arq.Worker(
            functions=[arq.func(noop, name="noop", keep_result=3600 if told.keep else 0)],
            redis_settings=arq.connections.RedisSettings.from_dsn(told.url),
            max_jobs=told.concurrency or 1000,
            # By default it asks each half second for ten jobs.
            poll_delay=0.02,
            handle_signals=False,
        )
        await worker.async_run()

    def put(self, told: Told, way: str, jobs: int, timer: Timer) -> None:
        run(told, self._put(told, way, jobs, timer))

    async def _put(self, told: Told, way: str, jobs: int, timer: Timer) -> None:
        pool = await arq.create_pool(arq.connections.RedisSettings.from_dsn(told.url))
        await put_async(way, jobs, timer, lambda: pool.enqueue_job("noop"))
        await pool.aclose()

    def call(self, told: Told, pause: Callable[[], float], samples: int, taken: Callable[[float, float], None]) -> None:
        raise NotOffered("it polls for jobs and results")


peer = Arq()
