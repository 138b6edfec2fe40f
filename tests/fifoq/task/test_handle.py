"""A handle returns the result of its job, or raises the reason that there is none."""

import asyncio
from datetime import UTC, datetime, timedelta
from traceback import format_exception
from uuid import UUID

import pytest

from fifoq import Fifoq, JobCancelled, JobFailed, JobNotFound, ResultTimeout, State
from fifoq.task import waiting


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


async def test_a_failed_job_raises_its_stored_error(tasks: Fifoq) -> None:
    async with tasks, tasks.worker():
        with pytest.raises(JobFailed, match="no way") as caught:
            await tasks.tasks["fail"].call()
        assert caught.value.task == "fail"
        assert caught.value.type == "GiveUp"
        assert caught.value.traceback
        assert caught.value.traceback in "".join(format_exception(caught.value))


async def test_a_cancelled_job_raises_its_reason(tasks: Fifoq) -> None:
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


async def test_an_endless_wait_calls_the_backend_again(tasks: Fifoq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fifoq.task.waiting.LOOK_AGAIN", 0.001)
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


async def test_a_wait_ends_in_its_time_though_the_store_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs:
        def queue(self, name: str) -> "Hangs":
            return self

        async def finished(self, id: str, timeout: float) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(waiting, "ANSWER_WITHIN", 0.01)
    assert await asyncio.wait_for(waiting.end_of(Hangs(), "queue", "id", 0.01), 30) is None
