"""arq."""

from collections.abc import Callable
from typing import Any

import arq
import arq.connections

from benchmarks.contestants.on_redis.contestant import FLIGHT, ONE, NotOffered, Options, Started, Timer, put_async, run


class Arq:
    ways = (ONE, FLIGHT)

    def work(self, options: Options, started: Started) -> None:
        run(options, self._work(options, started))

    async def _work(self, options: Options, started: Started) -> None:
        async def noop(ctx: Any, sent: float = 0.0) -> None:
            started(sent)

        worker = arq.Worker(
            functions=[arq.func(noop, name="noop", keep_result=3600 if options.keep else 0)],
            redis_settings=arq.connections.RedisSettings.from_dsn(options.url),
            max_jobs=options.concurrency or 1000,
            # The default is ten jobs, polled each half second.
            poll_delay=0.02,
            handle_signals=False,
        )
        await worker.async_run()

    def put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        run(options, self._put(options, way, jobs, timer))

    async def _put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        pool = await arq.create_pool(arq.connections.RedisSettings.from_dsn(options.url))
        await put_async(way, jobs, timer, lambda: pool.enqueue_job("noop"))
        await pool.aclose()

    def call(
        self, options: Options, pause: Callable[[], float], samples: int, measured: Callable[[float, float], None]
    ) -> None:
        raise NotOffered("arq polls for jobs and results")


contestant = Arq()
