"""The task factory of a worker's loop: it is there while workers run, and keeps the one that was there before."""

import asyncio
from typing import Any

import pytest


async def test_the_factory_of_the_program_is_used_meanwhile_and_there_afterwards(shop: Any) -> None:
    made = []

    def own(loop: asyncio.AbstractEventLoop, coroutine: Any, **arguments: Any) -> Any:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **arguments)

    async def nothing() -> None: ...

    loop = asyncio.get_running_loop()
    loop.set_task_factory(own)
    try:
        async with shop.worker():
            async with shop.worker():
                pass
            made.clear()
            await asyncio.create_task(nothing())
            assert len(made) == 1
        assert loop.get_task_factory() is own
    finally:
        loop.set_task_factory(None)


async def test_an_exit_outside_of_jobs_is_none_of_the_worker_s_business(shop: Any) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async with shop.worker():
        # A coroutine that is not contained, stepped as asyncio does.
        task = asyncio.get_running_loop().create_task(leave())
        assert asyncio.iscoroutine(task.get_coro())
        assert type(task.get_coro()).__name__ == "coroutine"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.filterwarnings("error")
async def test_a_task_of_a_job_that_is_cancelled_before_it_begins_leaves_no_coroutine_unawaited(shop: Any) -> None:
    async def child() -> None: ...

    async def parent() -> str:
        task = asyncio.create_task(child(), name="the child")
        task.cancel()
        await asyncio.wait([task])
        return repr(task)

    id = await shop.put(shop.task(parent))
    async with shop.worker():
        job = await shop.ended(id)
    assert "the child" in job.result
    assert "child" in job.result
