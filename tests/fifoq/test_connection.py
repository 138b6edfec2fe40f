"""A Fifoq opens on one loop at a time, counts its users, declares its queues, and leaves nothing behind."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from fifoq import Fifoq, PayloadTooLarge, QueueFull, State
from fifoq.errors import BackendUnavailable, ConfigurationError
from fifoq.queue import Call
from fifoq_memory import MemoryBackend
from tests.fifoq.conftest import make


async def test_a_fifoq_that_is_not_open_raises_with_advice(tasks: Fifoq) -> None:
    for attempt in (
        tasks.tasks["double"].enqueue(1),
        tasks.tasks["double"].handle("x").status(),
        tasks.get("x"),
        tasks.stats(),
        tasks.enqueue_many([tasks.tasks["double"].bind(1)]),
    ):
        with pytest.raises(ConfigurationError, match=r"not open\. Open it with `async with tasks:`"):
            await attempt
    with pytest.raises(ConfigurationError, match="not open"):
        await tasks.__aexit__()


async def test_openings_on_one_loop_are_counted(tasks: Fifoq) -> None:
    async with tasks:
        async with tasks as again:
            assert again is tasks
        await tasks.tasks["double"].enqueue(1)
    assert not tasks.is_open


async def test_openings_at_the_same_time_share_one() -> None:
    opened = 0

    class Slow(MemoryBackend):
        async def open(self) -> None:
            nonlocal opened
            opened += 1
            await asyncio.sleep(0.001)

        async def close(self) -> None:
            nonlocal opened
            await asyncio.sleep(0.001)
            opened -= 1

    tasks = make()
    tasks._connection._make = Slow

    async def use() -> None:
        async with tasks:
            assert opened == 1
            await tasks.tasks["double"].enqueue(1)

    for _ in range(5):
        await asyncio.gather(*(use() for _ in range(5)))
    assert opened == 0


async def test_one_that_fails_to_open_can_be_opened_later() -> None:
    class Broken(MemoryBackend):
        broken = True

        async def open(self) -> None:
            if self.broken:
                raise BackendUnavailable("gone")

    tasks = make()
    tasks._connection._make = Broken
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            await tasks.__aenter__()
        assert not tasks.is_open
    Broken.broken = False
    async with tasks:
        await tasks.tasks["double"].enqueue(1)


def test_private_memory_survives_reopening_on_another_loop(tasks: Fifoq) -> None:
    async def put() -> str:
        async with tasks:
            return (await tasks.tasks["double"].enqueue(1)).id

    async def look(id: str) -> State:
        async with tasks:
            return (await tasks.get(id)).state

    assert asyncio.run(look(asyncio.run(put()))) is State.WAITING


def test_a_loop_that_died_without_closing_does_not_lock_others_out(tasks: Fifoq) -> None:
    async def open_only() -> None:
        await tasks.__aenter__()

    async def use() -> None:
        async with tasks:
            await tasks.tasks["double"].enqueue(1)

    asyncio.run(open_only())
    assert not tasks.is_open
    asyncio.run(use())


async def test_a_second_loop_is_refused_with_advice(tasks: Fifoq) -> None:
    async def elsewhere(work: Callable[[], Any]) -> None:
        await work()

    async with tasks:
        for work in (lambda: tasks.__aenter__(), lambda: tasks.tasks["double"].enqueue(1)):
            with pytest.raises(ConfigurationError, match="open on another event loop"):
                await asyncio.to_thread(lambda work=work: asyncio.run(elsewhere(work)))
        await tasks.tasks["double"].enqueue(1)


async def test_annotations_are_resolved_at_open() -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    def broken(a: "Nowhere") -> None: ...  # noqa: F821

    with pytest.raises(ConfigurationError, match="Nowhere"):
        await tasks.__aenter__()


async def test_declared_settings_are_written_at_open_and_others_are_left_alone() -> None:
    first, second = Fifoq("memory://declared"), Fifoq("memory://declared")
    first.queue("q", limit=3, capacity=7)
    second.task(queue="q", name="t", limit=2)(lambda: None)
    async with first, second:
        gates = (await first._connection.queue("q").stats()).gates
        assert [(gate.task, gate.settings.limit, gate.settings.capacity) for gate in gates] == [
            (None, 3, 7),
            ("t", 2, None),
        ]


async def test_a_task_registered_while_open_is_declared_before_its_first_job(tasks: Fifoq) -> None:
    async with tasks:
        tasks.queue("later", limit=5)
        late = tasks.task(queue="later", name="late", capacity=1)(lambda: None)
        await late.enqueue()
        with pytest.raises(QueueFull, match="Task 'late' in queue 'later'"):
            await late.enqueue()
        gates = (await tasks._connection.queue("later").stats()).gates
        assert gates[0].settings.limit == 5


async def test_the_limit_of_payloads_is_a_setting() -> None:
    tasks = make(max_payload=100)
    async with tasks:
        with pytest.raises(PayloadTooLarge):
            await tasks.tasks["append"].enqueue("x" * 100)
        late = tasks.task(name="late")(lambda text: None)
        with pytest.raises(PayloadTooLarge):
            await late.enqueue("x" * 100)


async def test_nothing_is_left_behind_when_it_closes() -> None:
    before = len(asyncio.all_tasks())
    tasks = make()
    async with tasks, tasks.worker():
        await asyncio.gather(*(tasks.tasks["append"].enqueue("k", n) for n in range(5)))
    gc.collect()
    assert len(asyncio.all_tasks()) == before


async def test_calls_of_the_backend_are_numbered_per_opening(tasks: Fifoq) -> None:
    seen: list[Call] = []

    class Spy(MemoryBackend):
        def queue(self, name: str) -> Any:
            queue = super().queue(name)
            if not hasattr(queue, "spied"):
                put = queue.put

                async def spy(call: Call, batches: Any) -> Any:
                    seen.append(call)
                    return await put(call, batches)

                queue.spied, queue.put = True, spy
            return queue

    tasks._connection._make = Spy
    for _ in range(2):
        async with tasks:
            await tasks.tasks["double"].enqueue(1)
            await tasks.tasks["double"].enqueue(1)
    assert [call.number for call in seen] == [1, 2, 1, 2]
    assert len({call.caller for call in seen}) == 2
