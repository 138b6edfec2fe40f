"""What happens to a run in its middle: workers that come and go, and operators who pause, cancel and requeue."""

import asyncio
import random
import time
from collections.abc import Awaitable
from typing import Any
from uuid import uuid4

from fifoq import Context, Fifoq, Retry, State
from fifoq.testing.history import MemoryLog, Producer, Requeued, attempt, check, stamp, write_finals

JOBS, KEYS = 300, 12


async def test_a_worker_that_stops_leaves_its_jobs_to_the_next_at_their_places(url: str, log: MemoryLog) -> None:
    tasks = Fifoq(url)
    at_work = asyncio.Event()

    @tasks.task(key="match", retry=Retry(attempts=1))
    async def play(ctx: Context, match: str, number: int) -> int:
        with attempt(log, ctx) as effect:
            at_work.set()
            await asyncio.sleep(0.02)
            effect()
        return number

    producer = Producer(log)

    def call(number: int) -> Awaitable[Any]:
        id, match = f"job-{number}", f"m{number % KEYS}"
        return producer.enqueue("default", id, match, lambda: play.options(id=id).enqueue(match, number))

    async with tasks:
        await asyncio.gather(*map(call, range(JOBS)))
        for number in range(8):
            at_work.clear()
            async with tasks.worker(concurrency=20, grace=0.0):
                await at_work.wait()
                await asyncio.sleep(0.05 * (number % 2))
        await tasks.worker(concurrency=20).drain()
        await write_finals(log, tasks.jobs())
        jobs = [job async for job in tasks.jobs()]

    outcome = check(log.events)
    assert outcome.ok, str(outcome)
    assert outcome.attempts > JOBS, "some were to be stopped"
    # Its attempt was given back to each: with one allowed, all succeeded.
    assert {(job.state, job.attempt, job.crashes) for job in jobs} == {(State.SUCCEEDED, 1, 0)}


async def test_operators_may_pause_cancel_and_requeue_in_the_middle_of_a_run(url: str, log: MemoryLog) -> None:
    tasks = Fifoq(url)
    chance = random.Random(7)
    mended: set[str] = set()

    @tasks.task(key="match", retry=Retry(attempts=2, backoff=0.001), after_failure="halt")
    async def play(ctx: Context, match: str, number: int) -> None:
        with attempt(log, ctx) as effect:
            await asyncio.sleep(0.005)
            if number % 23 == 5 and ctx.job.id not in mended:
                raise ValueError("broken until somebody mends it")
            effect()

    producer = Producer(log)

    def call(number: int) -> Awaitable[Any]:
        id, match = f"job-{number}", f"m{number % KEYS}"
        return producer.enqueue("default", id, match, lambda: play.options(id=id).enqueue(match, number))

    async def mend() -> int:
        halted = [job.id async for job in tasks.jobs(state=State.FAILED)]
        for id in halted:
            mended.add(id)
            log.write(Requeued(stamp(), "default", id))
            await tasks.requeue(id)
        return len(halted)

    async def operate(there: int) -> None:
        key = f"m{chance.randrange(KEYS)}"
        await tasks.pause("default", key=key)
        await asyncio.sleep(0.01)
        await tasks.cancel(f"job-{chance.randrange(there)}")
        await tasks.resume("default", key=key)

    async with tasks:
        async with tasks.worker(concurrency=10):
            for first in range(0, JOBS, 30):
                await asyncio.gather(*map(call, range(first, first + 30)))
                await operate(first + 30)
                await mend()
        await tasks.worker(concurrency=10).drain()
        while await mend():
            await tasks.worker(concurrency=10).drain()
        await write_finals(log, tasks.jobs())
        stats = (await tasks.stats())["default"]

    outcome = check(log.events)
    assert outcome.ok, str(outcome)
    assert stats.succeeded + stats.cancelled == JOBS
    assert stats.cancelled > 0
    assert len(mended) > 5


async def test_the_status_page_shows_sync_work_in_the_order_in_which_it_came(url: str, log: MemoryLog) -> None:
    tasks = Fifoq(url)
    tasks.queue("reports", ordered=True)
    seen: list[list[State]] = []

    @tasks.task(queue="reports")
    def render(ctx: Context, number: int) -> int:
        with attempt(log, ctx) as effect:
            effect()
        return number

    producer = Producer(log)
    ids = [uuid4() for _ in range(40)]
    async with tasks, tasks.worker(concurrency=10):
        for number, id in enumerate(ids):
            job = render.options(id=id)
            await producer.enqueue("reports", str(id), "the queue", lambda job=job, number=number: job.enqueue(number))
            seen.append([job.state async for job in tasks.jobs(queue="reports")])
        assert await render.handle(ids[-1]).result(timeout=30) == len(ids) - 1
        assert [job.id async for job in tasks.jobs(queue="reports")] == [str(id) for id in ids]
        await write_finals(log, tasks.jobs())
    outcome = check(log.events)
    assert outcome.ok, str(outcome)
    # At each look, what is complete comes first, at most one is in progress, and the rest is queued.
    rank = {State.SUCCEEDED: 0, State.RUNNING: 1, State.WAITING: 2}
    for states in seen:
        assert [rank[state] for state in states] == sorted(rank[state] for state in states)
        assert states.count(State.RUNNING) <= 1


async def test_a_task_that_blocks_the_loop_for_three_leases_runs_once(url: str, log: MemoryLog) -> None:
    tasks = Fifoq(url, lease=0.5)

    @tasks.task(key="match")
    async def block(ctx: Context, match: str, seconds: float) -> None:
        with attempt(log, ctx) as effect:
            time.sleep(seconds)  # noqa: ASYNC251  # that is what this is about
            effect()

    producer = Producer(log)
    async with tasks:
        for number, seconds in enumerate([1.5, 0.0]):
            job = block.options(id=str(number))
            await producer.enqueue(
                "default", str(number), "m", lambda job=job, seconds=seconds: job.enqueue("m", seconds)
            )
        await tasks.worker(concurrency=10).drain()
        await write_finals(log, tasks.jobs())
    outcome = check(log.events)
    assert outcome.ok, str(outcome)
    assert outcome.attempts == 2
