"""huey: the fastest other contestant from enqueue to start and to result. It delivers at most once."""

import time
from collections.abc import Callable
from typing import Any

from huey import RedisHuey

from benchmarks.contestants.on_redis.contestant import ONE, Options, Started, Timer


class Huey:
    ways = (ONE,)

    def _make(self, options: Options, started: Started | None = None) -> tuple[RedisHuey, Any]:
        app = RedisHuey("bench", url=options.url, results=options.keep, notify_result=options.keep)

        def noop(sent: float = 0.0) -> float:
            assert started is not None
            started(sent)
            return 1.0

        return app, app.task(name="noop")(noop)

    def work(self, options: Options, started: Started) -> None:
        app, _ = self._make(options, started)
        app.create_consumer(workers=options.concurrency or 4, periodic=False, check_worker_health=False).start()
        while True:
            time.sleep(60)

    def put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        _, noop = self._make(options)
        with timer:
            for _ in range(jobs):
                noop()

    def call(
        self, options: Options, pause: Callable[[], float], samples: int, measured: Callable[[float, float], None]
    ) -> None:
        _, noop = self._make(options)
        for _ in range(samples):
            time.sleep(pause())
            sent = time.monotonic()
            noop(sent).get(blocking=True, timeout=10)
            measured(sent, time.monotonic())


contestant = Huey()
