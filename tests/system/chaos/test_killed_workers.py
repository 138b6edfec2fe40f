"""Workers are killed, at named points and at any, over a stream of keyed jobs: nothing shows, but what must."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from typing import Any

from fifoq.testing.history import Report
from tests.kill_points import INNER, OUTER
from tests.system.chaos.controller import Controller

KILLS = int(os.environ.get("FIFOQ_KILLS", "220"))
SEED = int(os.environ.get("FIFOQ_SEED", "7"))
WORKERS, KEYS, BATCH = 4, 60, 200


class Stream:
    """Workers that are replaced as they die, and enough jobs for them."""

    def __init__(self, controller: Controller, points: tuple[str, ...], **order: Any) -> None:
        self.controller = controller
        self.dice = random.Random(SEED)
        self.points = points
        self.order = order
        """What else a producer is told."""
        self.worker: dict[str, Any] = {}
        """And a worker."""
        self.is_ripe: Callable[[str], Any] = lambda name: True
        """Whether a worker that has started, and is to die anywhere, may."""
        self.names = iter(range(10**6))
        self.jobs = 0
        self.struck: dict[str, int] = {}
        self._plans: dict[str, str] = {}
        self._doomed: list[str] = []

    async def run(self, kills: int) -> None:
        tick = 0
        while True:
            self.controller.look()
            self._bury()
            if self.controller.killed >= kills:
                break
            self._replace()
            self._doom()
            if tick % 8 == 0:
                await self._feed()
            tick += 1
            await asyncio.sleep(0.01)
        for name in self.controller.running("w"):
            self.controller.signal(name, signal.SIGKILL)

    async def prove(self, kills: int) -> Report:
        """Run, let others finish the work, and check the history of all."""
        controller = self.controller
        await self.run(kills)
        for number in range(2):
            controller.start("worker", f"last{number}", concurrency=20)
        await controller.until(lambda: not controller.running("p"))
        await controller.until(controller.all_done, "the end of all jobs")
        await controller.stop("last0", "last1")
        report = await controller.prove(self.jobs)
        print(f"{controller.killed} kills {self.struck}: {report}")
        assert controller.killed >= kills
        return report

    def _replace(self) -> None:
        for _ in range(WORKERS - len(self.controller.running("w"))):
            # In turn, so that each has its share, but not in step with anything.
            number = next(self.names)
            name, point = f"w{number}", self.points[number % len(self.points)]
            self._plans[name] = point
            slowly = point.endswith("extend")
            nth = 1 if slowly else self.dice.randint(1, 5)
            self.controller.start("worker", name, point=point, nth=nth, **self.worker)
            if point == "anywhere":
                self._doomed.append(name)

    def _doom(self) -> None:
        """Those who are to die anywhere do so some time after they are ripe, however long that took."""
        for name in [name for name in self._doomed if self.controller.pids.get(name) and self.is_ripe(name)]:
            self._doomed.remove(name)
            after = self.dice.uniform(0.01, 0.6)
            asyncio.get_running_loop().call_later(after, self.controller.signal, name, signal.SIGKILL)

    def _bury(self) -> None:
        for name in [name for name in self._plans if name in self.controller.codes]:
            assert self.controller.codes[name] == -signal.SIGKILL, (name, self.controller.codes[name])
            point = self._plans.pop(name)
            self.struck[point] = self.struck.get(point, 0) + 1

    async def _feed(self) -> None:
        if self.controller.running("p"):
            return
        stats = await self.controller.stats()
        if stats.waiting < BATCH:
            for number in range(2):
                name = f"p{self.jobs}.{number}"
                self.controller.start("producer", name, count=BATCH // 2, keys=KEYS, **self.order)
            self.jobs += BATCH


async def test_two_hundred_killed_workers_lose_nothing_and_mix_up_nothing(controller: Controller, url: str) -> None:
    stream = Stream(controller, (*OUTER, *INNER.get(url.partition(":")[0], ())), slow=0.1)
    report = await stream.prove(KILLS)
    assert min(stream.struck.get(point, 0) for point in stream.points) >= KILLS // len(stream.points) // 2
    assert report.in_doubt > KILLS // 2, "leases were to be cut"


async def test_killed_workers_that_had_claimed_ahead_of_short_jobs_lose_nothing_and_mix_up_nothing(
    controller: Controller,
) -> None:
    stream = Stream(controller, ("anywhere",), quick=True)
    stream.worker = {"concurrency": 1, "ahead": 0.05}
    stream.is_ripe = lambda name: controller.heard(name, "claimed ahead")
    await stream.prove(KILLS // 4)
