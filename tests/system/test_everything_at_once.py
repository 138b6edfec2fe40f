"""
One store, and all that may happen to it at a time: concurrent calls, workers that come and go, operators who pause,
cancel and requeue, failures, delays, priorities, limits, a rate, and every tenth reply lost.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from fifoq import Context, Fifoq, GiveUp, JobNotFound, Limit, Rate, Retry, RetryAfter, State
from fifoq.limits import GateSettings
from fifoq.queue import Backend
from fifoq.testing.history import (
    Bounds,
    MemoryLog,
    Producer,
    Requeued,
    WatchedBackend,
    attempt,
    check,
    stamp,
    write_finals,
)
from fifoq.testing.lost_replies import LostReplies

JOBS = 1_500
QUEUE_RATE = Rate(3_000, burst=200)
LIMITS = [Limit(18), Limit(3, by="tenant")]
BOUNDS: Bounds = {
    ("q", None): GateSettings.of(25, rate=QUEUE_RATE),
    ("q", "save"): GateSettings.of(LIMITS),
    ("q", "count"): GateSettings.of(6),
}


class Scene:
    """The tasks, and those who use them."""

    def __init__(self, url: str, log: MemoryLog, seed: int) -> None:
        self.log, self.dice = log, random.Random(seed)
        self.producer = Producer(log)
        self.tasks = Fifoq(url)
        self.tasks.queue("q", limit=25, rate=QUEUE_RATE)
        self.ids: list[str] = []
        self.mended: set[str] = set()
        retry = Retry(attempts=3, backoff=0.002)
        self.save = self.tasks.task(queue="q", key="match", limit=LIMITS, retry=retry)(self._save())
        self.count = self.tasks.task(queue="q", limit=6)(self._count())
        self.halt = self.tasks.task(queue="q", key="match", after_failure="halt", retry=1)(self._halt())

    def _save(self) -> Callable[..., Any]:
        async def save(ctx: Context, match: str, tenant: int) -> None:
            with attempt(self.log, ctx, str(tenant)) as effect:
                luck = random.random()
                if luck < 0.3:
                    await asyncio.sleep(luck / 50)
                if luck < 0.05:
                    raise ValueError("bad luck")
                if luck < 0.06:
                    raise RetryAfter(0.003)
                if luck < 0.07:
                    raise GiveUp("very bad luck")
                effect()

        return save

    def _count(self) -> Callable[..., Any]:
        def count(ctx: Context, number: int) -> int:
            with attempt(self.log, ctx) as effect:
                time.sleep(0.001)
                effect()
            return number

        return count

    def _halt(self) -> Callable[..., Any]:
        async def halt(ctx: Context, match: str) -> None:
            with attempt(self.log, ctx) as effect:
                if ctx.job.id.endswith("9") and ctx.job.id not in self.mended:
                    raise ValueError("broken until somebody mends it")
                effect()

        return halt

    async def put(self, number: int) -> None:
        id, kind = f"job-{number}", self.dice.randrange(5)
        self.ids.append(id)
        key: str | None = None
        delayed = self.dice.random() < 0.05
        options: dict[str, Any] = {"id": id, "priority": self.dice.choice([0, 0, 5, -3])}
        options |= {"delay": 0.01} if delayed else {}
        if kind < 3:
            key = f"save-{self.dice.randrange(30)}"
            call = partial(self.save.options(**options).enqueue, key, self.dice.randrange(12))
        elif kind == 3:
            call = partial(self.count.options(**options).enqueue, number)
        else:
            key = f"halt-{self.dice.randrange(8)}"
            call = partial(self.halt.options(**options).enqueue, key)
        await self.producer.enqueue("q", id, key, call, delayed=delayed)

    async def mend(self) -> int:
        """Requeue what is halted; return how many that were."""
        halted = [job.id async for job in self.tasks.jobs(state=State.FAILED) if job.halted]
        for id in halted:
            self.mended.add(id)
            self.log.write(Requeued(stamp(), "q", id))
            await self.tasks.requeue(id)
        return len(halted)

    async def operate(self) -> None:
        while True:
            await asyncio.sleep(self.dice.random() * 0.02)
            paused: dict[str, str] = self.dice.choice([{"task": "count"}, {"key": f"save-{self.dice.randrange(30)}"}])
            await self.tasks.pause("q", **paused)
            await asyncio.sleep(0.004)
            await self.tasks.resume("q", **paused)
            if self.ids:
                with suppress(JobNotFound):  # it may still be on its way
                    await self.tasks.cancel(self.dice.choice(self.ids[-50:]))
            await self.mend()

    async def work(self) -> None:
        while True:
            async with self.tasks.worker(concurrency=40, grace=self.dice.choice([0.0, 0.02, 1.0])):
                await asyncio.sleep(self.dice.random() * 0.3)

    async def put_all(self) -> None:
        number = 0
        while number < JOBS:
            flight = self.dice.randrange(1, 100)
            await asyncio.gather(*(self.put(each) for each in range(number, min(number + flight, JOBS))))
            number += flight
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """Undo what operators may have left, and run until nothing is left."""
        await self.tasks.resume("q", task="count")
        for number in range(30):
            await self.tasks.resume("q", key=f"save-{number}")
        await asyncio.sleep(0.02)  # what was delayed falls due
        await self.tasks.worker(concurrency=50).drain()
        while await self.mend():
            await self.tasks.worker(concurrency=50).drain()


async def cancel(*helpers: asyncio.Task[None]) -> None:
    for helper in helpers:
        helper.cancel()
    outcomes = await asyncio.gather(*helpers, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_promise_is_kept_whatever_happens_at_a_time(
    url: str, log: MemoryLog, plant: Callable[[Callable[[Backend], Any]], None], seed: int
) -> None:
    stores: list[WatchedBackend] = []

    def lossy(backend: Backend) -> Any:
        stores.append(WatchedBackend(backend, log))
        return LostReplies(stores[-1], every=10)

    plant(lossy)
    scene = Scene(url, log, seed)
    async with scene.tasks:
        operator = asyncio.create_task(scene.operate())
        workers = [asyncio.create_task(scene.work()) for _ in range(2)]
        await scene.put_all()
        await cancel(operator)
        await asyncio.sleep(0.2)
        await cancel(*workers)
        await scene.finish()
        await write_finals(log, scene.tasks.jobs())
        audits = [await store.queue("q").audit() for store in stores]

    outcome = check(log.events, BOUNDS)
    assert outcome.ok, str(outcome)
    assert outcome.jobs == JOBS
    assert [audit.differences for audit in audits] == [()] * len(stores)
