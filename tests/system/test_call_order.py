"""Concurrently awaited enqueues of one Fifoq enter in the order in which they were called."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fifoq import Context, Fifoq
from fifoq.testing.history import MemoryLog, Producer, attempt, check, write_finals

QUEUES, KEYS, JOBS = 4, 7, 1_000


@pytest.mark.parametrize("working", [False, True], ids=["before the worker", "while the worker runs"])
async def test_a_thousand_calls_awaited_together_enter_in_call_order(url: str, log: MemoryLog, working: bool) -> None:
    tasks = Fifoq(url)
    producer = Producer(log)
    saves: list[Any] = []
    for number in range(QUEUES):

        @tasks.task(name=f"save{number}", queue=f"q{number}", key="match")
        async def save(ctx: Context, match: str | None, tick: int) -> None:
            with attempt(log, ctx) as effect:
                effect()

        saves.append(save)

    def call(tick: int) -> Awaitable[Any]:
        key = None if tick % 5 == 0 else f"m{tick % KEYS}"
        id, save = f"job-{tick}", saves[tick % QUEUES]
        enqueue: Callable[[], Awaitable[Any]] = lambda: save.options(id=id).enqueue(key, tick)  # noqa: E731
        return producer.enqueue(f"q{tick % QUEUES}", id, key, enqueue)

    async with tasks:
        if working:
            async with tasks.worker(concurrency=100):
                await asyncio.gather(*(call(tick) for tick in range(JOBS)))
        else:
            await asyncio.gather(*(call(tick) for tick in range(JOBS)))
        await tasks.worker(concurrency=100).drain()
        await write_finals(log, tasks.jobs())
        for number in range(QUEUES):
            ids = [job.id async for job in tasks.jobs(queue=f"q{number}")]
            assert ids == [f"job-{tick}" for tick in range(JOBS) if tick % QUEUES == number]
    outcome = check(log.events)
    assert outcome.ok, str(outcome)
    assert (outcome.jobs, outcome.attempts) == (JOBS, JOBS)


async def test_batches_and_single_calls_awaited_together_enter_in_call_order(url: str) -> None:
    tasks = Fifoq(url)

    @tasks.task(key="match")
    async def save(match: str, tick: int) -> None: ...

    async with tasks:
        calls: list[Awaitable[Any]] = []
        for tick in range(0, 300, 3):
            calls.append(tasks.enqueue_many([save.bind("m", tick), save.bind("n", tick + 1)]))
            calls.append(save.enqueue("m", tick + 2))
        await asyncio.gather(*calls)
        assert [job.kwargs["tick"] async for job in tasks.jobs()] == list(range(300))
