"""RQ: the one with the fastest batches."""

from collections.abc import Callable

import redis
import rq

from benchmarks.peers.peer import BATCH, IN_BATCH, ONE, Hit, NotOffered, Timer, Told


def noop() -> None:
    """What its jobs name."""


class Rq:
    ways = (ONE, BATCH)

    def work(self, told: Told, hit: Hit) -> None:
        raise NotOffered("it runs 400 jobs a second, and is measured by what it enqueues")

    def put(self, told: Told, way: str, jobs: int, timer: Timer) -> None:
        queue = rq.Queue(connection=redis.Redis.from_url(told.url))
        with timer:
            if way == ONE:
                for _ in range(jobs):
                    queue.enqueue(noop, result_ttl=0)
                return
            for first in range(0, jobs, IN_BATCH):
                count = min(IN_BATCH, jobs - first)
                queue.enqueue_many([rq.Queue.prepare_data(noop, result_ttl=0) for _ in range(count)])

    def call(self, told: Told, pause: Callable[[], float], samples: int, taken: Callable[[float, float], None]) -> None:
        raise NotOffered("it is measured by what it enqueues")


peer = Rq()
