"""Operations: jobs are awaited, found, counted and steered, by id and by page, over all queues of a Fifoq."""

import asyncio
from datetime import UTC
from typing import Any
from uuid import UUID

import pytest

from fifoq import Fifoq, IdConflict, InvalidArguments, JobNotFound, State
from fifoq.testing.clock import ManualClock
from tests.fifoq.conftest import make

# ---- looking ----


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


async def test_an_endless_wait_for_any_job_calls_the_backend_again(
    tasks: Fifoq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fifoq.task.waiting.LOOK_AGAIN", 0.001)
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
        assert stats["lines"][:7] == (1, 1, 0, 0, 0, 0, 2.5)
        assert stats["default"].oldest_waiting is None


# ---- steering ----


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
