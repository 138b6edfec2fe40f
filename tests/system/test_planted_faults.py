"""A store that breaks a promise is caught by the checker, in a real run: what it never caught it does not prove."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fifoq import Context, Fifoq, Limit
from fifoq.limits import GateSettings
from fifoq.queue import Backend
from fifoq.testing.history import MemoryLog, Producer, Rule, attempt, check, write_finals
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue
from tests.planted import Forgets, IgnoresKeys, IgnoresLimits, Overtakes, RunsAgain

JOBS, KEYS = 200, 5


FAULTS = {
    WrappedQueue: None,
    IgnoresKeys: Rule.OVERLAP,
    IgnoresLimits: Rule.LIMIT,
    Forgets: Rule.LOST,
    RunsAgain: Rule.DUPLICATED,
    Overtakes: Rule.ORDER,
}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
async def test_a_store_that_breaks_a_promise_is_caught(
    url: str,
    log: MemoryLog,
    plant: Callable[[Callable[[Backend], Any]], None],
    kind: type[WrappedQueue],
) -> None:
    plant(lambda backend: WrappedBackend(backend, kind))
    tasks = Fifoq(url)

    @tasks.task(key="match", limit=Limit(3))
    async def play(ctx: Context, match: str, number: int) -> None:
        with attempt(log, ctx) as effect:
            await asyncio.sleep(0.002)
            effect()

    producer = Producer(log)

    def call(number: int) -> Awaitable[Any]:
        id, match = f"job-{number}", f"m{number // 4 % KEYS}"
        return producer.enqueue("default", id, match, lambda: play.options(id=id).enqueue(match, number))

    async with tasks:
        await asyncio.gather(*map(call, range(JOBS)))
        await tasks.worker(concurrency=10).drain()
        await write_finals(log, tasks.jobs())
    outcome = check(log.events, {("default", "play"): GateSettings(limit=3)})
    fault = FAULTS[kind]
    assert outcome.ok if fault is None else fault in outcome.rules, str(outcome)
