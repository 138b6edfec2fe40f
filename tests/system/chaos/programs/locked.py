"""
Thirty seconds of a store that somebody else keeps locked, with all settings as they are by default:

    python locked.py FOLDER sqlite|lock SECONDS

A worker has a job that stays, and one that ends in the meantime; a user goes on enqueueing. Prints as JSON what they
saw.
"""

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from fifoq import Fifoq, FifoqError
from fifoq.record import State
from tests.system.chaos.controller import Controller, held
from tests.system.chaos.programs.workload import LoopLag


class User:
    """Enqueues, again and again, whatever comes."""

    def __init__(self, url: str) -> None:
        self.tasks = Fifoq(url)
        self.errors: list[str] = []
        self.longest = 0.0
        self.put = 0

        @self.tasks.task(queue="chaos", key="match")
        async def play(match: str, tenant: int, seconds: float) -> None: ...

        self.play = play

    async def go_on(self) -> None:
        while True:
            begin = time.monotonic()
            try:
                await self.play.options(id=f"user-{self.put}").enqueue("user", 1, 0.0)
                self.put += 1
            except FifoqError as error:
                self.errors.append(type(error).__name__)
            self.longest = max(self.longest, time.monotonic() - begin)
            await asyncio.sleep(0.2)


async def measure(folder: Path, kind: str, seconds: float) -> dict[str, Any]:
    url, history = f"sqlite:///{folder}/jobs.db", folder / "history"
    history.mkdir()
    async with Controller(url, history) as controller:
        controller.start("worker", "w", lease=15.0, concurrency=10)
        controller.start("producer", "p", count=1, task="stay", seconds=600.0)
        controller.start("producer", "q", count=1, task="play", seconds=2.0)
        await controller.until(lambda: controller.heard("w", "in"))
        await asyncio.sleep(0.5)
        user, lag = User(url), LoopLag()
        async with user.tasks:
            going = asyncio.create_task(user.go_on())
            await asyncio.sleep(0.5)
            async with held(folder / "jobs.db", kind):
                await asyncio.sleep(seconds)
            before = user.put
            await controller.until(lambda: user.put > before + 2)
            (history / "go").touch()
            going.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await going
        await controller.until(controller.all_done)
        await controller.stop("w")
        audit = await controller.queue.audit()
        records = {record.spec.id: record async for record in controller.records()}
        # The user's jobs are in no history: what the store says of them has to do.
        mine = [one for id, one in records.items() if id.startswith("user")]
        return {
            "errors": user.errors,
            "longest_call": user.longest,
            "gap": lag.stop(),
            "worker_gap": controller.heard("w", "gap")[0]["seconds"],
            "acknowledged": user.put,
            "stored": sum(one.state is State.SUCCEEDED for one in mine),
            "attempts": {
                id: [one.attempt, one.crashes, str(one.state)] for id, one in records.items() if one not in mine
            },
            "cancelled": [one["why"] for one in controller.heard("w", "cancelled")],
            "differences": audit.differences,
        }


print(json.dumps(asyncio.run(measure(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])))))
