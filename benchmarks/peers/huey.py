"""huey: the quickest to start a job and to give its result. It delivers at most once."""

import time
from collections.abc import Callable
from typing import Any

from huey import RedisHuey

from benchmarks.peers.peer import ONE, Hit, Timer, Told


class Huey:
    ways = (ONE,)

    def _make(self, told: Told, hit: Hit | None = None) -> tuple[RedisHuey, Any]:
        app = RedisHuey("bench", url=told.url, results=told.keep, notify_result=told.keep)

        def noop(sent: float = 0.0) -> float:
            assert hit is not None
            hit(sent)
            return 1.0

        return app, app.task(name="noop")(noop)

    def work(self, told: Told, hit: Hit) -> None:
        app, _ = self._make(told, hit)
        app.create_consumer(workers=told.concurrency or 4, periodic=False, check_worker_health=False).start()
        while True:
            time.sleep(60)

    def put(self, told: Told, way: str, jobs: int, timer: Timer) -> None:
        _, noop = self._make(told)
        with timer:
            for _ in range(jobs):
                noop()

    def call(self, told: Told, pause: Callable[[], float], samples: int, taken: Callable[[float, float], None]) -> None:
        _, noop = self._make(told)
        for _ in range(samples):
            time.sleep(pause())
            sent = time.monotonic()
            noop(sent).get(blocking=True, timeout=10)
            taken(sent, time.monotonic())


peer = Huey()
