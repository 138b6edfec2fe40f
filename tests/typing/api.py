"""
What strict type checkers must make of the public API. Read by pyright and mypy, never run.

Every line that must be refused ends in `# error`; all others must be accepted. mypy takes a task whose first parameter
is Any for Any as a whole: nothing that it says about a line with `not mypy` counts.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type
from uuid import UUID

from fifoq import (
    Context,
    Fifoq,
    Job,
    JobHandle,
    KeyPage,
    Limit,
    NewJob,
    Page,
    QueueStats,
    Rate,
    Retry,
    State,
    Worker,
)
from fifoq.queue import Backend, BackendFactory
from fifoq_memory import MemoryBackend

factory: BackendFactory = MemoryBackend
backend: Backend = MemoryBackend("memory://")


@asynccontextmanager
async def open_pools() -> AsyncGenerator[dict[str, int], None]:
    yield {}


def short_name(model: str) -> str:
    return model[:3]


tasks = Fifoq("memory://", lifespan=open_pools, lease=15.0)


@tasks.task
async def bare(match_id: str, tick: int, goals: int = 0) -> int:
    return goals


@tasks.task(queue="stats", key="match_id", retry=Retry(attempts=5), timeout=30)
async def save_stats(match_id: str, tick: int, goals: int) -> int:
    return goals


@tasks.task(limit=[Limit(320), Limit(2, by="tenant")], capacity=5_000, rate=Rate(10, burst=5), run_in="thread")
def is_prime(tenant: str, x: int) -> bool:
    return x == 2


@tasks.task(retry=5, rate="100/s", limit=4, after_failure="halt", key=short_name)
async def train(ctx: Context, model: str, *, epochs: int = 10) -> list[float]:
    await ctx.progress(1, epochs, "first")
    return [float(ctx.attempt)]


@tasks.task
def sync_with_context(ctx: Context, n: int) -> str:
    ctx.progress(n)
    return ctx.job.id * n


@tasks.task
async def only_context(ctx: Context) -> None: ...


@tasks.task
async def nothing() -> None: ...


@tasks.task
async def takes_any(anything: Any, n: int) -> str:
    return str(anything) * n


@tasks.task(key="value")
def takes_object(value: object) -> object:
    return value


async def right() -> None:
    job = await save_stats.enqueue("m1", tick=3, goals=1)
    assert_type(job, JobHandle[int])
    assert_type(job.id, str)
    assert_type(job.created, bool)
    assert_type(await job.status(), Job)
    assert_type(await job.result(timeout=5), int)
    assert_type(await job.cancel(), bool)
    assert_type(save_stats.handle("x"), JobHandle[int])
    assert_type(await is_prime.call("acme", 97), bool)
    assert_type(await bare.enqueue("m1", 1), JobHandle[int])
    assert_type(await save_stats("m1", 3, 1), int)
    assert_type(is_prime("acme", 7), bool)
    assert_type(save_stats.enqueue_sync("m1", tick=3, goals=1), JobHandle[int])
    assert_type(is_prime.call_sync("acme", x=3), bool)
    assert_type(save_stats.bind("m1", 1, 0), NewJob[int])
    assert_type(await tasks.enqueue_many([save_stats.bind("m1", 1, 0), bare.bind("m1", 2)]), list[JobHandle[int]])


async def right_with_context() -> None:
    assert_type(await train.call("resnet", epochs=3), list[float])
    assert_type(await train("resnet"), list[float])
    assert_type(sync_with_context(3), str)
    assert_type(await sync_with_context.enqueue(3), JobHandle[str])
    assert_type(await only_context.enqueue(), JobHandle[None])
    assert_type(await nothing.enqueue(), JobHandle[None])
    assert_type(await takes_any.call(b"x", 3), str)  # not mypy
    assert_type(await takes_object.call(value=1), object)


async def right_options() -> None:
    tuned = save_stats.options(
        id=UUID(int=1), key="k", delay=10, priority=5, unique="u", in_line=True, expires=60, meta={"a": "b"}
    )
    assert_type(await tuned.enqueue("m1", 1, 0), JobHandle[int])
    assert_type(await save_stats.options(at=datetime.now(UTC)).call("m1", 1, 0), int)
    assert_type(await is_prime.options(wait=5, enqueue_timeout=0.5, delay=timedelta(1)).call("a", 1), bool)


async def right_operations() -> None:
    tasks.queue("stats", limit=50, capacity=10_000, rate="500/s", ordered=False)
    assert_type(await tasks.get("x"), Job)
    page = await tasks.find(state="failed", queue="stats", task="t", key="k", limit=10)
    assert_type(page, Page)
    assert_type(page.jobs, tuple[Job, ...])
    assert_type(page.cursor, str | None)
    async for found in tasks.jobs(state="failed"):
        assert_type(found, Job)
    await tasks.find(state=State.FAILED)
    assert_type(await tasks.stats(), dict[str, QueueStats])
    assert_type(await tasks.blocked_keys(), KeyPage)
    assert_type(await tasks.requeue(UUID(int=1)), bool)
    await tasks.pause("stats", key="m1")
    assert_type(tasks.get_sync("x"), Job)
    assert_type(tasks.worker(queues="stats", concurrency=100, threads=40, grace=25.0), Worker)
    async with tasks as opened, tasks.worker():
        assert_type(opened, Fifoq)
    await tasks.worker().run()
    await tasks.worker().drain()


async def wrong_arguments() -> None:
    await save_stats.enqueue("m1", tick="3", goals=1)  # error
    await save_stats.enqueue("m1", 3)  # error
    await save_stats.enqueue("m1", 3, 1, 4)  # error
    await save_stats.enqueue("m1", 3, 1, colour="red")  # error
    await save_stats.call(1, 3, 1)  # error
    save_stats.bind()  # error
    save_stats.enqueue_sync(match_id="m1")  # error
    is_prime.call_sync("acme")  # error
    await save_stats.options(delay=1).enqueue("m1")  # error
    await nothing.enqueue(1)  # error
    await save_stats("m1", 3)  # error
    await takes_any.enqueue(1)  # error, but not mypy
    await takes_object.enqueue()  # error


async def wrong_context(ctx: Context) -> None:
    await train.enqueue(ctx, "resnet")  # error
    await train.enqueue("resnet", epochs="3")  # error
    await train.enqueue(model=3)  # error
    await only_context.enqueue(ctx)  # error


async def wrong_results() -> None:
    text: str = await save_stats.call("m1", 1, 1)  # error
    number: int = await (await bare.enqueue("a", 1)).status()  # error
    print(text, number)
    await is_prime("acme", 7)  # error


async def wrong_options() -> None:
    await tasks.find(state="failled")  # error
    tasks.jobs(state=str(tasks))  # error
    tasks.find_sync(state="done")  # error
    save_stats.options(colour="red")  # error
    save_stats.options(delay="soon")  # error
    save_stats.options(meta={"a": 1})  # error
    tasks.worker(processes="many")  # error
    Fifoq(lease="long")  # error
    await tasks.enqueue_many([save_stats])  # error


@tasks.task(attempts=3)  # error
async def unknown_setting() -> None: ...


@tasks.task(run_in="moon")  # error
async def wrong_place() -> None: ...
