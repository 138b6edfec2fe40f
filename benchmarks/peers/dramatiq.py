"""dramatiq: threads, and the fastest one that delivers at least once."""

import time
from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers.peer import ONE, Hit, NotOffered, Timer, Told


class Dramatiq:
    ways = (ONE,)

    def _make(self, told: Told, hit: Hit | None = None) -> tuple[RedisBroker, Any]:
        broker = RedisBroker(url=told.url)
        if told.keep:
            broker.add_middleware(Results(backend=RedisBackend(url=told.url), store_results=True, result_ttl=3_600_000))
        dramatiq.set_broker(broker)

        @dramatiq.actor(max_retries=0)
        def noop(sent: float = 0.0) -> None:
            assert hit is not None
            hit(sent)

        return broker, noop

    def work(self, told: Told, hit: Hit) -> None:
        broker, _ = self._make(told, hit)
        dramatiq.Worker(broker, worker_threads=told.concurrency or 32).start()
        while True:
            time.sleep(60)

    def put(self, told: Told, way: str, jobs: int, timer: Timer) -> None:
        broker, noop = self._make(told)
        broker.declare_queue("default")
        with timer:
            for _ in range(jobs):
                noop.send()

    def call(self, told: Told, pause: Callable[[], float], samples: int, taken: Callable[[float, float], None]) -> None:
        raise NotOffered("an idle consumer polls with a growing pause: 7.6 ms to the start")


peer = Dramatiq()
