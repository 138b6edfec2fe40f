"""A task: a call becomes a job, and a plain call runs the function."""

import pickle
from typing import Any
from uuid import UUID

import pytest

from fifoq import Context, Fifoq, JobHandle
from fifoq.errors import InvalidArguments
from fifoq.record import JobSpec
from fifoq.task.task import AWAITED
from tests.fifoq.task.conftest import FakeConnection, play, task_of


async def test_a_call_becomes_a_job(connection: FakeConnection) -> None:
    task = task_of(play, connection, key="match_id", priority=2, retain=5)
    handle = await task.enqueue("m1", player=3)
    (spec,) = connection.specs
    assert spec == JobSpec(
        id=handle.id,
        task="play",
        payload=task.signature.encode(("m1", 3), {}).payload,
        key="m1",
        priority=2,
        retain=5_000_000,
    )
    assert isinstance(handle, JobHandle)
    assert handle.created
    assert UUID(handle.id).version == 7


async def test_ids_are_made_in_order(connection: FakeConnection) -> None:
    task = task_of(play, connection)
    ids = [(await task.enqueue("m")).id for _ in range(1_000)]
    assert ids == sorted(set(ids))


def test_a_job_that_is_awaited_is_kept_a_while() -> None:
    task = task_of(play, retain=0)
    assert task._spec(("m",), {}, AWAITED).retain == 60_000_000
    assert task._spec(("m",), {}, 0).retain == 0
    assert task_of(play)._spec(("m",), {}, AWAITED).retain == 3_600_000_000


def test_a_bound_call_is_checked_at_once_and_keeps_its_id() -> None:
    task = task_of(play)
    bound = task.bind("m")
    assert bound.spec() is bound.spec()
    assert bound.id == bound.spec().id
    with pytest.raises(InvalidArguments):
        task.bind()


async def test_a_plain_call_runs_the_function(connection: FakeConnection) -> None:
    assert await task_of(play, connection)("m", 4) == 4
    assert connection.specs == []


async def test_a_plain_call_gets_a_detached_context() -> None:
    def sync(ctx: Context, a: int) -> tuple[Any, ...]:
        ctx.progress(1, 2)
        return ctx.attempt, ctx.fence, ctx.cancelled, ctx.resources, ctx.meta, ctx.job.kwargs, ctx.job.task

    async def coroutine(ctx: Context, a: int) -> int:
        await ctx.progress(1)
        return a

    assert task_of(sync)(3) == (1, 0, False, None, {}, {"a": 3}, "sync")
    assert task_of(sync).options(meta={"x": "y"})(3)[4] == {"x": "y"}
    assert await task_of(coroutine)(a=3) == 3


def test_a_parameter_may_have_any_name() -> None:
    def task(self: int, task: int, args: int, function: int) -> int:
        return self + task + args + function

    wrapped = task_of(task)
    assert wrapped(self=1, task=2, args=3, function=4) == 10
    assert wrapped.bind(self=1, task=2, args=3, function=4).id


module_tasks = Fifoq("memory://")


@module_tasks.task
def importable(a: int) -> int:
    """Its own words."""
    return a


def test_a_task_is_documented_and_pickled_like_its_function() -> None:
    assert importable.__doc__ == "Its own words."
    assert importable.__name__ == "importable"
    assert importable.__module__ == __name__
    assert pickle.loads(pickle.dumps(importable)) is importable
