"""A job that waits for a job which cannot begin before it ends gets an error at once, and is never silent."""

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fifoq import ConfigurationError, Context, Fifoq, JobFailed, Limit, ResultTimeout, State
from fifoq.limits import GateSettings
from fifoq.queue import Override
from fifoq.task.waiting import waits
from fifoq.worker.log import Event

HOLDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "key": ({}, {"key": "k"}),
    "line": ({"ordered": True}, {}),
    "limit of the queue": ({"limit": 1}, {}),
    "limit of the task": ({}, {"limit": 1}),
    "limit of a value": ({}, {"limit": Limit(1, by="k")}),
}
"""By what jobs of one task are bound: the settings of the queue and of the task."""


class App:
    """A task `bound` whose jobs are bound by something, and a task `free`. Each takes the ways to go on waiting."""

    def __init__(self, url: str, hold: str, limit: int = 1) -> None:
        self.tasks = tasks = Fifoq(url, grace=0.5)
        of_queue, of_task = HOLDS[hold]
        if limit > 1:
            of_queue, of_task = (dict.fromkeys(each, limit) for each in (of_queue, of_task))
        tasks.queue("bound", **of_queue)
        self.bound = tasks.task(name="bound", queue="bound", retry=1, **of_task)(self._async())
        self.free = tasks.task(name="free", queue="free", retry=1)(self._async())
        self.in_thread = tasks.task(name="in thread", queue="bound", retry=1, key=of_task.get("key"))(self._sync())

    def _async(self) -> Any:
        async def step(k: str, ways: list[str]) -> str:
            if not ways:
                return "the end"
            name, _, way = ways[0].partition(".")
            return await self.wait(getattr(self, name), way, k, ways[1:])

        return step

    def _sync(self) -> Any:
        def step(k: str, ways: list[str]) -> str:
            name, _, way = ways[0].partition(".")
            task, rest = getattr(self, name), ways[1:]
            match way:
                case "call":
                    return task.call_sync(k, rest)
                case "result":
                    return task.enqueue_sync(k, rest).result_sync()
                case _:
                    return str(self.tasks.finished_sync(task.enqueue_sync(k, rest).id))

        return step

    async def wait(self, task: Any, way: str, k: str, rest: list[str]) -> str:
        match way:
            case "call":
                return await task.call(k, rest)
            case "call with an id":
                return await task.options(id=f"{k}-{len(rest)}").call(k, rest)
            case "bounded":
                return await task.options(wait=3600.0).call(k, rest)
            case "gathered":
                return (await asyncio.gather(task.call(k, rest), asyncio.sleep(0)))[0]
            case "result":
                return await (await task.enqueue(k, rest)).result()
            case _:
                return str(await self.tasks.finished((await task.enqueue(k, rest)).id))

    async def run(self, task: Any, ways: list[str]) -> str:
        async with self.tasks, self.tasks.worker():
            job = await task.enqueue("v", ways)
            return await job.result(30)


WAYS = ["call", "call with an id", "bounded", "gathered", "result", "finished"]


async def refused(running: Awaitable[Any], *texts: str) -> None:
    with pytest.raises(JobFailed) as raised:
        await running
    for text in ("Deadlock", "cannot end before", *texts):
        assert text in str(raised.value), raised.value


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("hold", HOLDS)
async def test_a_wait_for_what_waits_for_oneself_is_refused(hold: str, way: str) -> None:
    app = App("memory://", hold)
    await refused(app.run(app.bound, [f"bound.{way}"]), "ConfigurationError", "'bound'")
    async with app.tasks:
        stats = (await app.tasks.stats())["bound"]
    assert stats.waiting + stats.succeeded == (way not in ("call", "bounded", "gathered")), "was it enqueued?"


@pytest.mark.parametrize("way", ["call", "result", "finished"])
async def test_from_a_thread(way: str) -> None:
    app = App("memory://", "key")
    await refused(app.run(app.in_thread, [f"bound.{way}"]), "holds the key 'v' in queue 'bound'")


@pytest.mark.parametrize("chain", [["free.call", "bound.call"], ["free.result", "free.call", "bound.finished"]])
@pytest.mark.parametrize("hold", HOLDS)
async def test_over_a_chain_of_jobs(hold: str, chain: list[str]) -> None:
    app = App("memory://", hold)
    await refused(app.run(app.bound, chain))


@pytest.mark.parametrize("hold", ["limit of the queue", "limit of the task"])
async def test_a_chain_that_fills_a_limit_alone(hold: str) -> None:
    app = App("memory://", hold, limit=3)
    assert await app.run(app.bound, ["bound.call", "bound.call"]) == "the end"
    await refused(app.run(app.bound, ["bound.call", "bound.call", "bound.call"]), "which is 3")


async def test_on_each_store(url: str) -> None:
    app = App(url, "key")
    await refused(app.run(app.bound, ["free.call", "bound.result"]))
    app = App(url, "limit of a value")
    await refused(app.run(app.bound, ["bound.call"]), "for ", "which is 1")


# ---- jobs that wait for each other ----


def meeting(tasks: Fifoq, targets: dict[str, str]) -> tuple[Callable[[], None], Any]:
    """A task whose jobs wait until all of them run, and then for the job that `targets` names for theirs."""
    begun = 0
    all_run = asyncio.Event()

    @tasks.task(retry=1)
    async def meet(ctx: Context) -> None:
        nonlocal begun
        begun += 1
        if begun == len(targets):
            all_run.set()
        await all_run.wait()
        await meet.handle(targets[ctx.job.id]).result()

    return all_run.set, meet


@pytest.mark.parametrize("targets", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}])
async def test_jobs_that_wait_in_a_circle(targets: dict[str, str]) -> None:
    tasks = Fifoq("memory://")
    _, meet = meeting(tasks, targets)
    async with tasks, tasks.worker():
        jobs = [await meet.options(id=id).enqueue() for id in targets]
        ended = [await tasks.finished(job.id, timeout=30) for job in jobs]
    assert all(job is not None and job.state is State.FAILED for job in ended)
    types = [job.error.type for job in ended if job is not None and job.error is not None]
    assert types.count("ConfigurationError") == 1
    assert types.count("JobFailed") == len(targets) - 1


async def test_a_wait_that_closes_a_chain_from_its_upper_end() -> None:
    app = App("memory://", "key")

    @app.tasks.task(queue="bound", key="k", retry=1)
    async def first(k: str) -> str:
        second = await app.free.enqueue(k, ["bound.call"])
        while not waits:  # noqa: ASYNC110 - it has no event: the second job waits for one of this key
            await asyncio.sleep(0.001)
        return await second.result()

    async with app.tasks, app.tasks.worker():
        await refused(first.options(wait=30).call("v"), "which waits for job")
        (second,) = (await app.tasks.find(task="free")).jobs
        assert await app.free.handle(second.id).result(30) == "the end"


# ---- waits that end ----


@pytest.mark.parametrize("hold", HOLDS)
async def test_a_wait_for_a_job_that_nothing_holds_up_is_no_deadlock(hold: str) -> None:
    app = App("memory://", hold)
    assert await app.run(app.free, ["bound.call"]) == "the end"
    assert await app.run(app.bound, ["free.call", "free.result"]) == "the end"


async def test_what_has_ended_is_waited_for_and_a_look_is_none() -> None:
    app = App("memory://", "key")

    @app.tasks.task(queue="bound", key="k", retry=1)
    async def look(k: str, before: str) -> list[str]:
        first = await app.bound.handle(before).result()
        behind = await app.bound.enqueue(k, [])
        try:
            await behind.result(timeout=0)
        except ResultTimeout:
            return [first, "not yet"]
        return []

    async with app.tasks, app.tasks.worker():
        before = await app.bound.enqueue("v", [])
        assert await look.call("v", before.id) == ["the end", "not yet"]


async def test_an_override_of_a_limit_counts(url: str) -> None:
    app = App(url, "limit of the queue")
    async with app.tasks:
        store = app.tasks._connection.queue("bound")
        await store.configure([Override(None, GateSettings(limit=2))])
        assert await app.run(app.bound, ["bound.call"]) == "the end"
        await store.configure([Override(None, None)])
        await refused(app.run(app.bound, ["bound.call"]))


async def test_a_wait_that_outlasts_its_job_is_none_of_that_job() -> None:
    app, background = App("memory://", "key"), list[asyncio.Task[str]]()

    @app.tasks.task(queue="bound", key="k", retry=1)
    async def leave(k: str) -> None:
        async def later() -> str:
            await ended.wait()
            return await app.bound.call(k, [])

        background.append(asyncio.create_task(later()))

    ended = asyncio.Event()
    async with app.tasks, app.tasks.worker():
        await leave.call("v")
        ended.set()
        assert await asyncio.wait_for(background[0], 30) == "the end"


# ---- from child processes ----

PROGRAM = """
from fifoq import Fifoq

tasks = Fifoq({url!r}, grace=0.5)

@tasks.task(key="k", retry=1)
def bound(k: str) -> str:
    return "the end"

@tasks.task(key="k", retry=1, run_in="process")
def waits(k: str, way: str) -> str:
    match way:
        case "call":
            return bound.call_sync(k)
        case "result":
            return bound.enqueue_sync(k).result_sync()
        case "finished":
            return str(tasks.finished_sync(bound.enqueue_sync(k).id))
        case "chain":
            return back.call_sync(k)

@tasks.task(retry=1, run_in="process")
def free(k: str) -> str:
    return bound.call_sync(k)

@tasks.task(key="k", retry=1)
async def outer(k: str) -> str:
    return await free.call(k)

@tasks.task(retry=1)
async def back(k: str) -> str:
    return await bound.call(k)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    name = f"program_{os.getpid()}_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(PROGRAM.format(url=f"sqlite:///{tmp_path}/jobs.db"))
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(name)
    del sys.modules[name]


async def test_from_a_child_process_and_in_chains_through_one(program: Any) -> None:
    calls: Sequence[Callable[[], Awaitable[Any]]] = [
        *(lambda way=way: program.waits.call("v", way) for way in ("call", "result", "finished", "chain")),
        lambda: program.outer.call("v"),
    ]
    async with program.tasks, program.tasks.worker():
        for call in calls:
            await refused(asyncio.wait_for(call(), 60))


# ---- places of the worker ----


@pytest.mark.parametrize(("place", "arguments"), [("places", {"concurrency": 2}), ("threads", {"threads": 2})])
async def test_a_worker_all_of_whose_jobs_wait_warns_once_and_goes_on_when_another_one_helps(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, place: str, arguments: dict[str, int]
) -> None:
    monkeypatch.setattr("fifoq.worker.runtime.WAITING_PAUSE", 0.01)
    tasks = Fifoq("memory://", grace=0.5)

    @tasks.task
    def leaf() -> int:
        return 1

    @tasks.task
    async def wait() -> int:
        return await leaf.call()

    @tasks.task
    def wait_in_thread() -> int:
        return leaf.call_sync()

    def warnings() -> list[Any]:
        return [record for record in caplog.records if getattr(record, "event", None) is Event.WORKER_WAITS]

    async with tasks, tasks.worker(**arguments):
        jobs = [await (wait if place == "places" else wait_in_thread).enqueue() for _ in range(2)]
        async with asyncio.timeout(30):
            while not warnings():  # noqa: ASYNC110 - a line has no event
                await asyncio.sleep(0.005)
        async with tasks.worker():
            assert [await job.result(30) for job in jobs] == [1, 1]
    (warning,) = warnings()
    assert f"All 2 {place} of worker" in warning.getMessage()
    assert warning.levelno == logging.WARNING


async def test_a_long_wait_for_a_job_that_does_not_begin_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fifoq.task.waiting.LOOK_AGAIN", 0.02)
    app = App("memory://", "key")
    async with app.tasks, app.tasks.worker(queues=["bound"]):
        job = await app.bound.enqueue("v", ["free.call"])
        async with asyncio.timeout(30):
            while not (lines := [each for each in caplog.records if each.name == "fifoq"]):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        async with app.tasks.worker(queues=["free"]):
            assert await job.result(30) == "the end"
    assert len(lines) == 1
    assert f"Job {job.id} of task 'bound' has waited" in lines[0].getMessage()
    assert vars(lines[0])["job"] == job.id


async def test_outside_of_jobs_nothing_is_refused() -> None:
    app = App("memory://", "key")
    async with app.tasks, app.tasks.worker():
        assert await app.bound.call("v", []) == "the end"
    with pytest.raises(ConfigurationError, match="not open"):
        await app.bound.call("v", [])
