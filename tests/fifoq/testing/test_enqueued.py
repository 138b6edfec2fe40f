"""The helpers for tests of apps: they run enqueued jobs, and find a call however its arguments were passed."""

import asyncio

import pytest

from fifoq import Fifoq
from fifoq.testing import (
    assert_enqueued,
    assert_enqueued_sync,
    drain,
    drain_sync,
    enqueued,
    enqueued_sync,
)

ran: list[str] = []


@pytest.fixture
def tasks() -> Fifoq:
    ran.clear()
    tasks = Fifoq("memory://")

    @tasks.task(key="match")
    async def save(match: str, goals: int = 0, *, note: str = "") -> None:
        ran.append(match)
        if note == "again":
            await save.enqueue(match + "'")

    @tasks.task(queue="other")
    def other() -> None:
        ran.append("other")

    return tasks


async def test_a_call_is_found_however_it_was_written(tasks: Fifoq) -> None:
    save = tasks.tasks["save"]
    async with tasks:
        job = await save.enqueue("m1", 3)
        newest = await save.enqueue("m1", goals=3, note="")
        found = await assert_enqueued(tasks, save, match="m1", goals=3)
    assert (found.id, found.key) == (newest.id, "m1")
    assert found.id != job.id


@pytest.mark.parametrize(
    ("args", "options"), [(("m1", 4), {}), (("m2", 3), {}), (("m1", 3), {"key": "x"}), (("m1", 3), {"priority": 1})]
)
async def test_a_missing_call_is_reported_with_the_calls_enqueued(tasks: Fifoq, args: tuple, options: dict) -> None:
    save = tasks.tasks["save"]

    @tasks.task
    async def unused(n: int) -> None: ...

    async with tasks:
        await save.enqueue("m1", 3)
        await tasks.tasks["other"].enqueue()
        with pytest.raises(AssertionError, match=r"(?s)was not enqueued.*save\(match='m1', goals=3") as caught:
            await assert_enqueued(tasks, save.options(**options), *args)
        assert "other" not in str(caught.value)
        with pytest.raises(AssertionError, match="none"):
            await assert_enqueued(tasks, unused, 1)


async def test_drain_runs_jobs_that_can_run_and_those_that_they_enqueue_and_leaves_the_rest(tasks: Fifoq) -> None:
    save, other = tasks.tasks["save"], tasks.tasks["other"]
    async with tasks:
        await save.enqueue("m1", note="again")
        await other.enqueue()
        await save.options(delay=3600).enqueue("later")
        await drain(tasks)
        assert sorted(ran) == ["m1", "m1'", "other"]
        assert [job.kwargs["match"] for job in await enqueued(tasks, save)] == ["m1", "later", "m1'"]
        assert len(await enqueued(tasks)) == 4


async def test_drain_does_not_wait_for_ever(tasks: Fifoq) -> None:
    @tasks.task
    async def hang() -> None:
        await asyncio.Event().wait()

    async with tasks:
        await hang.enqueue()
        with pytest.raises(TimeoutError):
            await drain(tasks, timeout=0.05)


def test_threads_have_forms_of_their_own(tasks: Fifoq) -> None:
    save = tasks.tasks["save"]
    save.enqueue_sync("m1", 3)
    assert assert_enqueued_sync(tasks, save, "m1", 3).state == "waiting"
    drain_sync(tasks)
    assert [job.state for job in enqueued_sync(tasks)] == ["succeeded"]
    assert ran == ["m1"]
