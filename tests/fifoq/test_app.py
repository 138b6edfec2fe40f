"""A Fifoq enqueues calls and batches, and makes workers with its settings and resources."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fifoq import Context, Fifoq, IdConflict, InvalidArguments, QueueFull
from fifoq.errors import ConfigurationError
from tests.fifoq.conftest import make

# ---- enqueueing ----


async def test_enqueue_does_not_suspend_on_memory(tasks: Fifoq) -> None:
    async with tasks:
        with pytest.raises(StopIteration):
            tasks.tasks["double"].enqueue(1).send(None)


async def test_calls_awaited_together_enter_in_call_order(tasks: Fifoq) -> None:
    append = tasks.tasks["append"]
    async with tasks:
        await asyncio.gather(*(append.enqueue(f"k{n % 3}", n) for n in range(50)))
        assert [job.kwargs["n"] async for job in tasks.jobs()] == list(range(50))


async def test_a_repeat_by_id_finds_the_job_and_another_call_conflicts(tasks: Fifoq) -> None:
    double = tasks.tasks["double"].options(id="one")
    async with tasks:
        assert (await double.enqueue(1)).created
        assert not (await double.enqueue(1)).created
        with pytest.raises(IdConflict):
            await double.enqueue(2)
        first = await tasks.tasks["double"].options(unique="u").enqueue(1)
        second = await tasks.tasks["double"].options(unique="u").enqueue(2)
        assert (second.id, second.created) == (first.id, False)


async def test_a_batch_enters_whole_and_in_order_or_not_at_all(tasks: Fifoq) -> None:
    append = tasks.tasks["append"]
    tasks.queue("lines", capacity=3)
    async with tasks:
        handles = await tasks.enqueue_many([append.bind("k", 1), append.bind("k", 2)])
        assert [handle.created for handle in handles] == [True, True]
        with pytest.raises(QueueFull):
            await tasks.enqueue_many([append.bind("k", 3), append.bind("k", 4)])
        assert [job.kwargs["n"] async for job in tasks.jobs()] == [1, 2]
        assert await tasks.enqueue_many([]) == []


async def test_a_batch_is_of_one_queue_and_of_one_fifoq(tasks: Fifoq) -> None:
    other = make()
    async with tasks, other:
        with pytest.raises(InvalidArguments, match=r"A batch is of one queue.*default, lines"):
            await tasks.enqueue_many([tasks.tasks["append"].bind("k"), tasks.tasks["double"].bind(1)])
        with pytest.raises(InvalidArguments, match="belongs to another Fifoq"):
            await tasks.enqueue_many([other.tasks["double"].bind(1)])


async def test_a_put_may_wait_for_room(tasks: Fifoq) -> None:
    tasks.queue("default", capacity=1)
    double = tasks.tasks["double"]
    async with tasks:
        first = await double.enqueue(1)
        with pytest.raises(QueueFull):
            await double.enqueue(2)
        waiting = asyncio.create_task(double.options(enqueue_timeout=60).enqueue(2))
        await asyncio.sleep(0)
        await first.cancel()
        assert (await waiting).created


# ---- workers ----


async def test_the_value_of_lifespan_is_the_resources_of_a_context() -> None:
    entered: list[object] = []

    @asynccontextmanager
    async def nothing() -> AsyncGenerator[str, None]:
        yield "bare"

    @asynccontextmanager
    async def with_app(app: Fifoq) -> AsyncGenerator[str, None]:
        entered.append(app)
        yield "app"
        entered.append("left")

    @asynccontextmanager
    async def with_default(size: int = 3) -> AsyncGenerator[int, None]:
        yield size

    for lifespan, resources in ((nothing, "bare"), (with_app, "app"), (with_default, 3), (None, None)):
        tasks = Fifoq("memory://", lifespan=lifespan)

        @tasks.task
        async def look(ctx: Context) -> Any:
            return ctx.resources

        async with tasks:
            assert len(entered) in (0, 2), "only a worker enters it"
            async with tasks.worker():
                assert await look.call() == resources
    assert entered[1:] == ["left"]
    assert isinstance(entered[0], Fifoq)


async def test_a_lifespan_that_is_no_context_manager_is_refused_clearly() -> None:
    async def forgot() -> AsyncGenerator[None, None]:
        yield

    tasks = Fifoq("memory://", lifespan=forgot)  # type: ignore[arg-type]
    tasks.task(name="t")(lambda: None)
    with pytest.raises(ConfigurationError, match="Is @asynccontextmanager missing"):
        await tasks.worker().__aenter__()
    assert not tasks.is_open


async def test_a_worker_takes_its_settings_from_arguments_the_fifoq_and_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIFOQ_THREADS", "3")
    monkeypatch.setenv("FIFOQ_SHUTDOWN_GRACE", "4")
    settings = make(lease=9.0, concurrency=50).worker(concurrency=2, grace=1).settings
    assert (settings.concurrency, settings.threads, settings.lease, settings.grace) == (2, 3, 9.0, 1.0)


async def test_a_worker_works_on_the_queues_it_was_given(tasks: Fifoq) -> None:
    async with tasks:
        await tasks.tasks["double"].enqueue(1)
        await tasks.tasks["append"].enqueue("k")
        await tasks.worker(queues="lines").drain()
        stats = await tasks.stats()
        assert (stats["lines"].succeeded, stats["default"].succeeded) == (1, 0)
        with pytest.raises(ConfigurationError, match="No task is in queue 'nowhere'"):
            await tasks.worker(queues=["nowhere"]).__aenter__()
