"""RQ: the other contestant with the fastest batches."""

from collections.abc import Callable

import redis
import rq

from benchmarks.contestants.on_redis.contestant import BATCH, IN_BATCH, ONE, NotOffered, Options, Started, Timer


def noop() -> None:
    """The function of the jobs."""


class Rq:
    ways = (ONE, BATCH)

    def work(self, options: Options, started: Started) -> None:
        raise NotOffered("RQ runs 400 jobs a second; only its enqueues are measured")

    def put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        queue = rq.Queue(connection=redis.Redis.from_url(options.url))
        with timer:
            if way == ONE:
                for _ in range(jobs):
                    queue.enqueue(noop, result_ttl=0)
                return
            for first in range(0, jobs, IN_BATCH):
                count = min(IN_BATCH, jobs - first)
                queue.enqueue_many([rq.Queue.prepare_data(noop, result_ttl=0) for _ in range(count)])

    def call(
        self, options: Options, pause: Callable[[], float], samples: int, measured: Callable[[float, float], None]
    ) -> None:
        raise NotOffered("only the enqueues of RQ are measured")


contestant = Rq()
