"""A worker that drains: when it returns, and when it does not yet."""

import asyncio
from types import SimpleNamespace
from typing import Any

from fifoq.calls import Caller
from fifoq.limits import GateSettings
from fifoq.queue import Declare, Pause
from fifoq.record import State
from fifoq.retry import Retry


async def test_drain_runs_all_jobs_that_may_run_and_those_that_they_put(shop: Any) -> None:
    async def again(n: int) -> None:
        if n:
            await shop.put(task, n - 1, key="k")

    task = shop.task(again)
    await shop.put(task, 20, key="k")
    await shop.worker().drain()
    assert await shop.states() == {State.SUCCEEDED: 21}


async def test_drain_of_nothing_returns_at_once(shop: Any) -> None:
    async def quick() -> None: ...

    shop.task(quick)
    await asyncio.wait_for(shop.worker().drain(), 2.0)


async def test_drain_waits_for_back_offs_and_tokens(shop: Any) -> None:
    async def fail() -> None:
        raise ValueError

    async def quick() -> None: ...

    task = shop.task(quick)
    await shop.backend.queue("default").configure([Declare("quick", GateSettings(interval=30_000))])
    await shop.put(shop.task(fail, retry=Retry(2, backoff=0.2, jitter=False)))
    for _ in range(10):
        await shop.put(task)
    await shop.worker().drain()
    assert await shop.states() == {State.SUCCEEDED: 10, State.FAILED: 1}


async def test_drain_waits_for_back_offs_without_rates(shop: Any) -> None:
    async def fail() -> None:
        raise ValueError

    await shop.put(shop.task(fail, retry=Retry(2, backoff=0.3, jitter=False)))
    await shop.worker().drain()
    assert await shop.states() == {State.FAILED: 1}


async def test_drain_leaves_jobs_that_are_scheduled_paused_halted_delayed_or_unknown(shop: Any) -> None:
    async def quick() -> None: ...

    async def fail() -> None:
        raise ValueError

    task = shop.task(quick)
    await shop.put(task, delay=3_600_000_000)
    await shop.put(task, delay=3_600_000_000, in_line=True)
    await shop.put(shop.task(fail, retry=Retry(1), halt=True), key="halted")
    await shop.put(task, key="halted")
    await shop.put(task, key="paused")
    await shop.put("stranger")
    await shop.backend.queue("default").configure([Pause(key="paused")])
    await asyncio.wait_for(shop.worker().drain(), 10.0)
    assert await shop.states() == {State.SCHEDULED: 1, State.WAITING: 4, State.FAILED: 1}


async def test_drain_waits_for_jobs_that_other_workers_run(shop: Any) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    await shop.put(task, key="k")
    await shop.put(task, key="k")
    queue = shop.backend.queue("default")
    await Caller().attempt(lambda call: queue.claim(call, "dying", 1, 300_000, ["quick"]))
    await shop.worker().drain()
    assert await shop.states() == {State.SUCCEEDED: 2}


class LooksWhileItClaims:
    """A queue whose `stats` returns when the next claim is on its way, and whose `claim` when `stats` has returned."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._claiming, self._over = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def stats(self) -> Any:
        seen = await self._queue.stats()
        self._claiming.clear()
        self._over.clear()
        await self._claiming.wait()
        asyncio.get_running_loop().call_later(0.005, self._over.set)
        return seen

    async def claim(self, *arguments: Any) -> Any:
        self._claiming.set()
        await self._over.wait()
        return await self._queue.claim(*arguments)


async def test_drain_waits_for_tokens_while_a_claim_is_on_its_way(shop: Any) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    await shop.backend.queue("default").configure([Declare("quick", GateSettings(interval=30_000))])
    for _ in range(6):
        await shop.put(task)
    queue = LooksWhileItClaims(shop.backend.queue("default"))
    queue._over.set()
    backend = SimpleNamespace(queue=lambda _: queue, twin=shop.backend.twin)
    await asyncio.wait_for(shop.worker(backend).drain(), 30.0)
    assert await shop.states() == {State.SUCCEEDED: 6}
