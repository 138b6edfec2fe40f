"""dramatiq: it works in threads, and is the fastest other contestant that delivers at least once."""

import time
from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.contestants.on_redis.contestant import ONE, NotOffered, Options, Started, Timer


class Dramatiq:
    ways = (ONE,)

    def _make(self, options: Options, started: Started | None = None) -> tuple[RedisBroker, Any]:
        broker = RedisBroker(url=options.url)
        if options.keep:
            broker.add_middleware(
                Results(backend=RedisBackend(url=options.url), store_results=True, result_ttl=3_600_000)
            )
        dramatiq.set_broker(broker)

        @dramatiq.actor(max_retries=0)
        def noop(sent: float = 0.0) -> None:
            assert started is not None
            started(sent)

        return broker, noop

    def work(self, options: Options, started: Started) -> None:
        broker, _ = self._make(options, started)
        dramatiq.Worker(broker, worker_threads=options.concurrency or 32).start()
        while True:
            time.sleep(60)

    def put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        broker, noop = self._make(options)
        broker.declare_queue("default")
        with timer:
            for _ in range(jobs):
                noop.send()

    def call(
        self, options: Options, pause: Callable[[], float], samples: int, measured: Callable[[float, float], None]
    ) -> None:
        raise NotOffered("an idle consumer polls with a growing pause: 7.6 ms to the start")


contestant = Dramatiq()
