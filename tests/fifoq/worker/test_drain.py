"""When a draining worker goes."""

import asyncio
from typing import Any

from fifoq.caller import Caller
from fifoq.limits import GateSettings
from fifoq.queue import Declare, Pause
from fifoq.retry import Retry
from fifoq.state import State


async def test_drain_runs_all_that_may_run_and_what_that_puts(shop: Any) -> None:
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


async def test_drain_leaves_what_is_scheduled_paused_halted_delayed_or_unknown(shop: Any) -> None:
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


async def test_drain_waits_for_what_others_run(shop: Any) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    await shop.put(task, key="k")
    await shop.put(task, key="k")
    queue = shop.backend.queue("default")
    await Caller().attempt(lambda call: queue.claim(call, "dying", 1, 300_000, ["quick"]))
    await shop.worker().drain()
    assert await shop.states() == {State.SUCCEEDED: 2}
