"""Fifoq on the memory backend: opening, enqueueing, looking, steering, from the loop and from threads."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from fifoq import (
    Context,
    Fifoq,
    GiveUp,
    IdConflict,
    InvalidArguments,
    JobCancelled,
    JobFailed,
    JobNotFound,
    PayloadTooLarge,
    QueueFull,
    ResultTimeout,
    State,
)
from fifoq.errors import BackendUnavailable, ConfigurationError
from fifoq.queue import Call
from fifoq.testing.clock import ManualClock
from fifoq_memory import MemoryBackend


def make(**settings: Any) -> Fifoq:
    tasks = Fifoq("memory://", **settings)

    @tasks.task(key="line", queue="lines")
    async def append(line: str, n: int = 0) -> int:
        return n

    @tasks.task
    def double(n: int) -> int:
        return 2 * n

    @tasks.task(retry=1, queue="fragile", key="key", after_failure="halt")
    async def fail(key: str = "k") -> None:
        raise GiveUp("no way")

    return tasks


@pytest.fixture
def tasks() -> Fifoq:
    return make()


# -- opening -----------------------------------------------------------------------------------------------------------


async def test_a_fifoq_that_is_not_open_says_what_to_do(tasks: Fifoq) -> None:
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


async def test_a_second_loop_is_refused_and_told_what_to_do(tasks: Fifoq) -> None:
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


async def test_what_is_declared_is_written_at_open_and_what_is_not_is_left_alone() -> None:
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


async def test_a_payload_limit_is_a_setting() -> None:
    tasks = make(max_payload=100)
    async with tasks:
        with pytest.raises(PayloadTooLarge):
            await tasks.tasks["append"].enqueue("x" * 100)
        late = tasks.task(name="late")(lambda text: None)
        with pytest.raises(PayloadTooLarge):
            await late.enqueue("x" * 100)


# -- enqueueing --------------------------------------------------------------------------------------------------------


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


# -- results -----------------------------------------------------------------------------------------------------------


async def test_a_call_waits_for_the_result(tasks: Fifoq) -> None:
    async with tasks, tasks.worker():
        assert await tasks.tasks["double"].call(4) == 8
        handle = await tasks.tasks["append"].enqueue("k", 3)
        assert await handle.result(timeout=30) == 3
        job = await handle.status()
        assert (job.state, job.key, job.result) == (State.SUCCEEDED, "k", 3)


async def test_a_result_has_the_type_of_the_return_annotation() -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def later(at: datetime) -> tuple[UUID, datetime]:
        return UUID(int=1), at + timedelta(1)

    async with tasks, tasks.worker():
        now = datetime.now(UTC)
        assert await later.call(now) == (UUID(int=1), now + timedelta(1))
        assert await later.call(now.isoformat()) == (UUID(int=1), now + timedelta(1))  # type: ignore[arg-type]


async def test_a_failed_job_raises_what_is_stored_of_its_error(tasks: Fifoq) -> None:
    async with tasks, tasks.worker():
        with pytest.raises(JobFailed, match="no way") as caught:
            await tasks.tasks["fail"].call()
        assert caught.value.task == "fail"
        assert caught.value.type == "GiveUp"


async def test_a_cancelled_job_says_why(tasks: Fifoq) -> None:
    async with tasks:
        handle = await tasks.tasks["double"].enqueue(1)
        assert await tasks.cancel(handle.id, reason="not needed")
        assert not await handle.cancel()
        with pytest.raises(JobCancelled, match="not needed"):
            await handle.result()


async def test_a_timeout_or_a_cancelled_waiter_leaves_the_job(tasks: Fifoq) -> None:
    double = tasks.tasks["double"]
    async with tasks:
        with pytest.raises(ResultTimeout, match=r"within 0\.01 s"):
            await double.options(wait=0.01, id="a").call(1)
        waiter = asyncio.create_task(double.options(id="b").call(1))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
        assert [(await tasks.get(id)).state for id in "ab"] == [State.WAITING] * 2
        async with tasks.worker():
            assert await double.handle("a").result() == 2


async def test_the_end_of_any_job_can_be_awaited_by_its_id(tasks: Fifoq) -> None:
    stranger = Fifoq("memory://shared-by-two")
    owner = Fifoq("memory://shared-by-two")

    @owner.task(queue="theirs")
    async def theirs() -> str:
        return "done"

    stranger.queue("theirs")
    async with owner, stranger:
        job = await theirs.enqueue()
        assert await stranger.finished(job.id, timeout=0.01) is None
        waiting = asyncio.create_task(stranger.finished(job.id))
        async with owner.worker():
            ended = await asyncio.wait_for(waiting, 10)
        assert ended is not None
        assert (ended.state, ended.result, ended.queue) == (State.SUCCEEDED, "done", "theirs")
        assert await stranger.finished(job.id, queue="theirs") == ended
        with pytest.raises(JobNotFound):
            await stranger.finished("nothing", timeout=0)


async def test_an_endless_wait_for_any_job_asks_again(tasks: Fifoq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fifoq.operations.LOOK_AGAIN", 0.001)
    async with tasks:
        job = await tasks.tasks["double"].enqueue(1)
        waiting = asyncio.create_task(tasks.finished(job.id))
        await asyncio.sleep(0.02)
        await job.cancel()
        ended = await asyncio.wait_for(waiting, 10)
    assert ended is not None
    assert ended.state is State.CANCELLED


async def test_many_jobs_of_a_queue_are_one_look(tasks: Fifoq) -> None:
    async with tasks:
        for id in ("a", "b"):
            await tasks.tasks["double"].options(id=id).enqueue(1)
        found = await tasks.get_many(["b", "nothing", "a"], queue="default")
    assert [job and job.id for job in found] == ["b", None, "a"]


async def test_an_endless_wait_asks_again(tasks: Fifoq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fifoq.task.handle.LOOK_AGAIN", 0.001)
    async with tasks:
        waiting = asyncio.create_task(tasks.tasks["double"].call(4))
        await asyncio.sleep(0.01)
        async with tasks.worker():
            assert await waiting == 8


async def test_a_job_that_is_gone_is_not_found(tasks: Fifoq) -> None:
    double = tasks.tasks["double"]
    async with tasks:
        for attempt in (
            double.handle("x").status(),
            double.handle("x").result(),
            double.handle("x").cancel(),
            tasks.get("x"),
            tasks.cancel("x"),
            tasks.requeue("x"),
            tasks.skip("x"),
        ):
            with pytest.raises(JobNotFound, match="'x'"):
                await attempt


async def test_retain_zero_removes_a_job_as_it_ends_but_call_gets_its_result() -> None:
    tasks = Fifoq("memory://")

    @tasks.task(retain=0)
    async def gone() -> str:
        return "here"

    async with tasks, tasks.worker():
        assert await gone.call() == "here"
    async with tasks:
        handle = await gone.enqueue()
        await tasks.worker().drain()
        with pytest.raises(JobNotFound):
            await handle.result()


# -- looking and steering ----------------------------------------------------------------------------------------------


async def test_jobs_are_found_by_state_queue_task_key_and_owner(tasks: Fifoq) -> None:
    append, double = tasks.tasks["append"], tasks.tasks["double"]
    async with tasks:
        a = await append.options(owner="me").enqueue("a")
        b = await append.enqueue("b")
        c = await double.options(delay=60).enqueue(1)

        async def ids(**filter: Any) -> list[str]:
            return [job.id for job in await tasks.find(**filter)]

        assert await ids(state="waiting", queue="lines") == [a.id, b.id]
        assert await ids(state=State.SCHEDULED) == [c.id]
        assert await ids(task="double") == [c.id]
        assert await ids(key="b") == [b.id]
        assert await ids(owner="me") == [a.id]
        assert await ids(queue="nowhere") == []
        assert (await tasks.get(UUID(c.id))).queue == "default"
        assert (await tasks.get(a.id, queue="lines")).owner == "me"
        with pytest.raises(JobNotFound):
            await tasks.get(a.id, queue="default")


async def test_pages_go_through_all_queues_in_order_of_entry(tasks: Fifoq) -> None:
    append, double = tasks.tasks["append"], tasks.tasks["double"]
    async with tasks:
        for n in range(5):
            await append.enqueue("k", n)
            await double.enqueue(n)
        seen: list[tuple[str, int]] = []
        cursor: str | None = None
        pages = 0
        while cursor is not None or not pages:
            page = await tasks.find(cursor=cursor, limit=2)
            assert len({job.queue for job in page}) <= 1
            assert len(page) <= 2
            seen += [(job.queue, job.kwargs["n"]) for job in page.jobs]
            cursor, pages = page.cursor, pages + 1
        assert seen == [("default", n) for n in range(5)] + [("lines", n) for n in range(5)]
        assert [(job.queue, job.kwargs["n"]) async for job in tasks.jobs()] == seen


@pytest.mark.parametrize(
    ("look", "parameter"),
    [
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "7:nowhere3"}, "cursor"),
        ({"cursor": "5:linesx"}, "cursor"),
        ({"cursor": "5:lines-1"}, "cursor"),
        ({"cursor": "5:lines9999999999999999"}, "cursor"),
        ({"limit": 0}, "limit"),
        ({"limit": 1_001}, "limit"),
        ({"state": "blocked"}, "state"),
        ({"colour": "red"}, "colour"),
        ({"queue": "{x}"}, "queue name"),
    ],
)
async def test_a_wrong_look_is_refused_by_name(tasks: Fifoq, look: dict[str, Any], parameter: str) -> None:
    async with tasks:
        with pytest.raises(InvalidArguments) as caught:
            await tasks.find(**look)
        assert caught.value.parameter == parameter


async def test_stats_count_the_jobs_of_each_queue() -> None:
    clock = ManualClock()
    tasks = make(clock=clock)
    async with tasks:
        await tasks.tasks["append"].enqueue("k")
        await tasks.tasks["append"].options(delay=60).enqueue("k")
        clock.advance(2.5)
        stats = await tasks.stats()
        assert list(stats) == ["default", "fragile", "lines"]
        assert stats["lines"] == (1, 1, 0, 0, 0, 0, 2.5)
        assert stats["default"].oldest_waiting is None


async def test_a_halted_key_is_shown_and_goes_on_after_requeue_or_skip(tasks: Fifoq) -> None:
    fail = tasks.tasks["fail"]
    async with tasks:
        first = await fail.enqueue("a")
        second = await fail.enqueue("a")
        await tasks.worker().drain()
        (key,) = await tasks.blocked_keys()
        assert (key.queue, key.key, key.job_id, key.reason) == ("fragile", "a", first.id, "halted")
        assert key.since.tzinfo is UTC
        assert (await second.status()).state is State.WAITING
        assert await tasks.requeue(first.id)
        assert not await tasks.requeue(first.id)
        await tasks.worker().drain()
        assert await tasks.skip(first.id)
        assert not await tasks.skip(first.id)
        await tasks.worker().drain()
        assert [key.job_id for key in await tasks.blocked_keys(queue="fragile")] == [second.id]


async def test_a_pause_holds_a_queue_a_task_or_a_key_until_resumed(tasks: Fifoq) -> None:
    append, double = tasks.tasks["append"], tasks.tasks["double"]
    async with tasks:
        await tasks.pause("lines", key="a")
        await tasks.pause("default", task="double")
        await tasks.pause("default")
        handles = [await append.enqueue("a"), await append.enqueue("b"), await double.enqueue(1)]

        async def states() -> list[str]:
            await asyncio.wait_for(tasks.worker().drain(), 30)
            return [(await handle.status()).state for handle in handles]

        assert await states() == ["waiting", "succeeded", "waiting"]
        assert [(key.key, key.reason) for key in await tasks.blocked_keys()] == [("a", "paused")]
        await tasks.resume("lines", key="a")
        await tasks.resume("default")
        assert await states() == ["succeeded", "succeeded", "waiting"]
        await tasks.resume("default", task="double")
        assert await states() == ["succeeded"] * 3
        with pytest.raises(InvalidArguments):
            await tasks.pause("lines", task="append", key="a")


async def test_blocked_keys_come_in_pages(tasks: Fifoq) -> None:
    async with tasks:
        for key in "abc":
            await tasks.pause("lines", key=key)
        await tasks.pause("fragile", key="z")
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await tasks.blocked_keys(cursor=cursor, limit=2)
            seen += [key.key for key in page.keys]
            cursor = page.cursor
            if cursor is None:
                break
        assert seen == ["z", "a", "b", "c"]


async def test_a_requeue_against_a_held_unique_text_is_refused(tasks: Fifoq) -> None:
    tasks.task(name="bad", retry=1, queue="default")(lambda: 1 / 0)
    bad = tasks.tasks["bad"].options(unique="u")
    async with tasks:
        first = await bad.enqueue()
        await tasks.worker().drain()
        second = await bad.enqueue()
        with pytest.raises(IdConflict, match="holds its unique text") as caught:
            await tasks.requeue(first.id)
        assert caught.value.id == second.id


async def test_check_reaches_the_backend(tasks: Fifoq) -> None:
    async with tasks:
        assert all(isinstance(sentence, str) for sentence in await tasks.check())


# -- workers -----------------------------------------------------------------------------------------------------------


async def test_what_lifespan_yields_is_the_resources_of_a_context() -> None:
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


# -- threads -----------------------------------------------------------------------------------------------------------


async def test_a_thread_hops_to_the_loop_that_opened_it(tasks: Fifoq) -> None:
    append = tasks.tasks["append"]

    def in_thread() -> None:
        handle = append.enqueue_sync("k", 1)
        assert handle.status_sync().state is State.WAITING
        assert tasks.get_sync(handle.id).id == handle.id
        assert [job.id for job in tasks.jobs_sync()] == [handle.id]
        assert [job.id for job in tasks.find_sync(queue="lines")] == [handle.id]
        assert [job and job.id for job in tasks.get_many_sync([handle.id], queue="lines")] == [handle.id]
        assert tasks.finished_sync(handle.id, timeout=0) is None
        assert tasks.run_sync(lambda: tasks.get(handle.id)).id == handle.id
        many = tasks.enqueue_many_sync([append.bind("k", 2), append.bind("k", 3)])
        assert [each.created for each in many] == [True, True]
        tasks.pause_sync("lines", key="k")
        assert [key.key for key in tasks.blocked_keys_sync()] == ["k"]
        tasks.resume_sync("lines", key="k")
        assert tasks.cancel_sync(many[0].id)
        assert many[1].cancel_sync()
        assert not tasks.requeue_sync(handle.id)
        assert not tasks.skip_sync(handle.id)
        assert tasks.stats_sync()["lines"].waiting == 1
        with pytest.raises(InvalidArguments):
            append.enqueue_sync()

    async with tasks:
        await asyncio.to_thread(in_thread)
        async with tasks.worker():
            assert await asyncio.to_thread(lambda: append.call_sync("k", 7)) == 7
            handle = await append.enqueue("k", 8)
            assert await asyncio.to_thread(lambda: handle.result_sync(30)) == 8


async def test_closing_waits_for_calls_from_threads() -> None:
    happened: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryBackend):
        async def queues(self) -> tuple[str, ...]:
            begun.set()
            await go_on.wait()
            happened.append("looked")
            return ()

        async def check(self) -> tuple[str, ...]:
            return await self.queues()

        async def close(self) -> None:
            happened.append("closed")

    tasks = make()
    tasks._connection._make = Slow
    async with tasks:
        look = asyncio.create_task(asyncio.to_thread(lambda: tasks._connection.run(tasks.check)))
        await begun.wait()
        asyncio.get_running_loop().call_later(0.01, go_on.set)
    assert happened == ["looked", "closed"]
    assert await look == ()


async def test_a_sync_call_on_the_loops_own_thread_raises(tasks: Fifoq) -> None:
    async with tasks:
        for call in (lambda: tasks.tasks["double"].enqueue_sync(1), tasks.stats_sync):
            with pytest.raises(ConfigurationError, match="Use the form without _sync"):
                call()


def test_a_script_without_a_loop_enqueues_and_an_app_opens_it_afterwards(tasks: Fifoq) -> None:
    double = tasks.tasks["double"]
    assert double.enqueue_sync(1).created
    assert double.enqueue_sync(2).created

    async def app() -> None:
        async with tasks:
            assert (await tasks.stats())["default"].waiting == 2
            await asyncio.to_thread(lambda: double.enqueue_sync(3))
            await tasks.worker().drain()

    asyncio.run(app())
    assert tasks.stats_sync()["default"].succeeded == 3
    asyncio.run(app_again(tasks))


async def app_again(tasks: Fifoq) -> None:
    async with tasks:
        assert (await tasks.stats())["default"].succeeded == 3


def test_sync_calls_of_many_threads_while_an_app_opens_and_closes_are_all_done(tasks: Fifoq) -> None:
    append = tasks.tasks["append"]
    errors: list[BaseException] = []

    def enqueue(thread: int) -> None:
        for n in range(30):
            try:
                append.enqueue_sync(f"k{thread}", n)
            except BaseException as error:
                errors.append(error)

    async def app() -> None:
        async with tasks:
            await append.enqueue("main")

    threads = [threading.Thread(target=enqueue, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        asyncio.run(app())
    for thread in threads:
        thread.join()
    assert errors == []
    assert tasks.stats_sync()["lines"].waiting == 125


async def test_a_sync_task_may_enqueue(tasks: Fifoq) -> None:
    double = tasks.tasks["double"]

    @tasks.task
    def outer(n: int) -> int:
        return double.call_sync(n) + 1

    async with tasks, tasks.worker():
        assert await outer.call(3) == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_use_its_parents_opening(tasks: Fifoq) -> None:
    double = tasks.tasks["double"]
    double.enqueue_sync(1)
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            double.enqueue_sync(2)
            os._exit(0 if tasks.stats_sync()["default"].waiting == 2 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert tasks.stats_sync()["default"].waiting == 1


async def test_nothing_is_left_behind_when_it_closes() -> None:
    before = len(asyncio.all_tasks())
    tasks = make()
    async with tasks, tasks.worker():
        await asyncio.gather(*(tasks.tasks["append"].enqueue("k", n) for n in range(5)))
    gc.collect()
    assert len(asyncio.all_tasks()) == before


async def test_a_call_of_the_seam_is_numbered_per_opening(tasks: Fifoq) -> None:
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


SCRIPT = """
import sys, threading
from fifoq import Fifoq
from fifoq_memory import MemoryBackend

class WithThread(MemoryBackend):
    async def open(self):
        self.done = threading.Event()
        threading.Thread(target=self.done.wait).start()
    async def close(self):
        self.done.set()

tasks = Fifoq("memory://")
tasks._connection._make = WithThread
task = tasks.task(name="t")(lambda: None)
print(task.enqueue_sync().created, flush=True)
"""


def test_a_script_ends_although_its_backend_has_threads() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
