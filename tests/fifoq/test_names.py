"""Texts that no store can hold: every public call refuses them by name, on every store alike, or replaces them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fifoq import Context, Fifoq, InvalidArguments, JobHandle
from fifoq.errors import JobNotFound

SURROGATE = "caf\udce9.txt"
Call = Callable[[Fifoq, JobHandle[Any]], Awaitable[Any]]

CALLS: dict[str, Call] = {
    "argument": lambda tasks, job: tasks.tasks["index"].enqueue(SURROGATE),
    "argument, bound": lambda tasks, job: tasks.enqueue_many([tasks.tasks["index"].bind(SURROGATE)]),
    "argument, awaited": lambda tasks, job: tasks.tasks["index"].call(SURROGATE),
    "name of an argument": lambda tasks, job: tasks.tasks["index"].enqueue(**{SURROGATE: "x"}),
    "key from an argument": lambda tasks, job: tasks.tasks["keyed"].enqueue(SURROGATE),
    "number as a key": lambda tasks, job: tasks.tasks["numbered"].enqueue(10**5_000),
    "option id": lambda tasks, job: tasks.tasks["index"].options(id=SURROGATE).enqueue("x"),
    "option key": lambda tasks, job: tasks.tasks["index"].options(key=SURROGATE).enqueue("x"),
    "option unique": lambda tasks, job: tasks.tasks["index"].options(unique=SURROGATE).enqueue("x"),
    "option owner": lambda tasks, job: tasks.tasks["index"].options(owner=SURROGATE).enqueue("x"),
    "name in meta": lambda tasks, job: tasks.tasks["index"].options(meta={SURROGATE: "x"}).enqueue("x"),
    "text of meta": lambda tasks, job: tasks.tasks["index"].options(meta={"x": SURROGATE}).enqueue("x"),
    "id of a handle": lambda tasks, job: tasks.tasks["index"].handle(SURROGATE).status(),
    "get": lambda tasks, job: tasks.get(SURROGATE),
    "get, queue": lambda tasks, job: tasks.get("x", queue=SURROGATE),
    "get_many": lambda tasks, job: tasks.get_many([SURROGATE], queue="default"),
    "get_many, queue": lambda tasks, job: tasks.get_many(["x"], queue=SURROGATE),
    "finished": lambda tasks, job: tasks.finished(SURROGATE, timeout=0),
    "finished, queue": lambda tasks, job: tasks.finished("x", queue=SURROGATE, timeout=0),
    "find, state": lambda tasks, job: tasks.find(state=SURROGATE),  # type: ignore[arg-type]
    "find, queue": lambda tasks, job: tasks.find(queue=SURROGATE),
    "find, task": lambda tasks, job: tasks.find(task=SURROGATE),
    "find, key": lambda tasks, job: tasks.find(key=SURROGATE),
    "find, owner": lambda tasks, job: tasks.find(owner=SURROGATE),
    "find, cursor": lambda tasks, job: tasks.find(cursor=SURROGATE),
    "find, cursor of a queue": lambda tasks, job: tasks.find(cursor=f"7:default{SURROGATE}"),
    "blocked_keys, cursor": lambda tasks, job: tasks.blocked_keys(cursor=f"7:default1:{SURROGATE}"),
    "blocked_keys, cursor as JSON": lambda tasks, job: tasks.blocked_keys(cursor=f'7:default[1, "{SURROGATE}"]'),
    "blocked_keys, queue": lambda tasks, job: tasks.blocked_keys(queue=SURROGATE),
    "cancel": lambda tasks, job: tasks.cancel(SURROGATE),
    "requeue": lambda tasks, job: tasks.requeue(SURROGATE),
    "skip": lambda tasks, job: tasks.skip(SURROGATE),
    "pause": lambda tasks, job: tasks.pause(SURROGATE),
    "pause, task": lambda tasks, job: tasks.pause("default", task=SURROGATE),
    "pause, key": lambda tasks, job: tasks.pause("default", key=SURROGATE),
    "resume, key": lambda tasks, job: tasks.resume("default", key=SURROGATE),
}


@pytest.fixture(params=["memory", "sqlite"])
def tasks(request: pytest.FixtureRequest, tmp_path: Path) -> Fifoq:
    tasks = Fifoq("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db?synchronous=normal")

    @tasks.task
    async def index(path: str) -> None: ...

    @tasks.task(key="path")
    async def keyed(path: str) -> None: ...

    @tasks.task(key="number")
    async def numbered(number: int) -> None: ...

    @tasks.task
    async def note(ctx: Context) -> None:
        await ctx.progress(1, 2, SURROGATE)

    return tasks


async def test_a_text_that_no_store_can_hold_is_refused_by_every_call(tasks: Fifoq) -> None:
    async with tasks:
        job = await tasks.tasks["index"].enqueue("x")
        for name, call in CALLS.items():
            with pytest.raises(InvalidArguments) as caught:
                await call(tasks, job)
            assert caught.value.parameter or name == "name of an argument", name
        assert await job.cancel()


async def test_in_a_text_for_people_it_is_replaced(tasks: Fifoq) -> None:
    async with tasks, tasks.worker():
        job = await tasks.tasks["index"].options(delay=60).enqueue("x")
        await tasks.cancel(job.id, reason=SURROGATE)
        assert (await job.status()).reason == "caf?.txt"
        noted = await tasks.tasks["note"].enqueue()
        await noted.result(timeout=10)
        progress = (await noted.status()).progress
        assert progress is not None
        assert progress.note == "caf?.txt"


@pytest.mark.parametrize("part", [{"done": 0.5}, {"done": 1, "total": "x"}, {"done": 1, "note": b"x"}, {"done": None}])
async def test_a_progress_that_could_not_be_shown_is_refused_in_the_task(part: dict[str, Any]) -> None:
    tasks = Fifoq("memory://")

    @tasks.task(retry=1)
    async def work(ctx: Context) -> str | None:
        try:
            await ctx.progress(**part)
        except InvalidArguments as error:
            return error.parameter
        return None

    async with tasks, tasks.worker():
        assert await work.options(wait=10).call() in part


async def test_no_call_takes_such_a_text_for_a_job_that_is_missing(tasks: Fifoq) -> None:
    async with tasks:
        with pytest.raises(JobNotFound):
            await tasks.tasks["index"].handle("x").status()
