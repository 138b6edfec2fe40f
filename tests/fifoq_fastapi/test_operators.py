"""Operators see whatever decides whether a job runs, in Python and over HTTP; names that exist nowhere are refused."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header
from fastapi.security import SecurityScopes

from fifoq import Fifoq, Limit
from fifoq.errors import InvalidArguments
from fifoq_fastapi import router

numbers = itertools.count()


async def user(scopes: SecurityScopes, x_user: Annotated[str, Header()] = "op") -> str:
    return x_user


def make_tasks(url: str) -> Fifoq:
    tasks = Fifoq(url, grace=0.1)
    tasks.queue("images", limit=5, rate="100/s", capacity=10)

    @tasks.task(queue="images", retry=1, key="key", limit=[Limit(3), Limit(2, by="key")])
    async def shrink(key: str) -> None:
        raise RuntimeError("boom")

    return tasks


@asynccontextmanager
async def client_of(tasks: Fifoq, **access: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(router(tasks, expose=[], **access))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        yield client


@pytest.fixture
async def stores(url: str) -> AsyncIterator[tuple[Fifoq, Fifoq]]:
    """An app with tasks and a failed job, and a Fifoq without any on the same store."""
    url = url.replace("memory://", f"memory://operators-{next(numbers)}")
    tasks, bare = make_tasks(url), Fifoq(url)
    async with tasks, bare:
        async with tasks.worker():
            job = await tasks.tasks["shrink"].options(owner="ada").enqueue("a")
            await tasks.finished(job.id)
        yield tasks, bare


async def test_a_fifoq_without_tasks_sees_the_same_as_one_with_all(stores: tuple[Fifoq, Fifoq]) -> None:
    tasks, bare = stores
    (name, mine), (other, theirs) = *(await tasks.stats()).items(), *(await bare.stats()).items()
    assert (name, mine.declared, theirs._replace(declared=True)) == (other, True, mine)
    assert not theirs.declared
    assert [job.id for job in await bare.find(state="failed")] == [job.id for job in await tasks.find(state="failed")]
    assert [job.task async for job in bare.jobs()] == ["shrink"]
    assert await bare.stats(declared=True) == {}
    assert (await bare.find(declared=True)).jobs == ()
    await bare.pause("images", key="a")
    assert [key.key for key in await bare.blocked_keys()] == ["a"]
    await bare.resume("images", key="a")


@pytest.mark.parametrize("part", [{}, {"task": "shrink"}])
async def test_a_pause_is_shown_while_it_lasts(stores: tuple[Fifoq, Fifoq], part: dict[str, str]) -> None:
    tasks, bare = stores
    async with client_of(bare, auth=user) as client:
        looks: list[tuple[bool, bool, Any]] = []
        for change in (None, "pause", "resume"):
            if change:
                answer = await client.post(f"/queues/images/{change}", params=part)
                assert answer.status_code == 204
            stats = (await tasks.stats())["images"]
            (queue,) = (await client.get("/queues")).json()["queues"]
            gates = {gate["task"]: gate["paused"] for gate in queue["gates"]}
            assert gates == {gate.task: gate.paused for gate in stats.gates}
            looks.append((stats.paused, queue["paused"], gates))
    whole = not part
    assert looks == [
        (False, False, {None: False, "shrink": False}),
        (whole, whole, {None: whole, "shrink": not whole}),
        (False, False, {None: False, "shrink": False}),
    ]


async def test_limits_rates_and_capacities_are_shown(stores: tuple[Fifoq, Fifoq]) -> None:
    tasks, _ = stores
    own, task = (await tasks.stats())["images"].gates
    assert own[:7] == (None, False, 5, None, 100.0, own.burst, 10)
    assert (task.task, task.limit, task.value_limit, task.rate, task.overridden) == ("shrink", 3, 2, None, False)
    async with client_of(tasks, auth=user) as client:
        (queue,) = (await client.get("/queues")).json()["queues"]
    assert queue["gates"] == [own._asdict(), task._asdict()]


async def test_a_pause_of_a_name_that_exists_nowhere_is_refused_and_changes_nothing(
    stores: tuple[Fifoq, Fifoq],
) -> None:
    before = await stores[1].stats()
    for tasks in stores:
        for queue, part, parameter in [
            ("imagse", {}, "queue"),
            ("imagse", {"task": "shrink"}, "queue"),
            ("imagse", {"key": "a"}, "queue"),
            ("images", {"task": "shrinc"}, "task"),
        ]:
            with pytest.raises(InvalidArguments) as caught:
                await tasks.pause(queue, **part)
            assert caught.value.parameter == parameter
            await tasks.resume("images", **({} if parameter == "queue" else part))
    assert await stores[1].stats() == before
    async with client_of(stores[0], auth=user) as client:
        answer = await client.post("/queues/images/pause", params={"task": "shrinc"})
    assert (answer.status_code, answer.json()["parameter"]) == (422, "task")


async def test_tracebacks_and_queues_of_others_are_shown_to_operators_only(stores: tuple[Fifoq, Fifoq]) -> None:
    tasks, bare = stores
    for access, sees in [
        ({"auth": user}, True),
        ({"public": True}, False),
        ({"auth": user, "owner": lambda name: "ada"}, False),
    ]:
        async with client_of(tasks, **access) as client:
            (job,) = (await client.get("/jobs")).json()["jobs"]
            assert ("RuntimeError: boom" in job["error"].get("traceback", "")) == sees
            assert (await client.get(f"/jobs/{job['id']}")).json() == job
            stream = await client.get(f"/jobs/{job['id']}/events")
            assert ('"traceback":' in stream.text) == sees
        async with client_of(bare, **access) as client:
            assert len((await client.get("/jobs")).json()["jobs"]) == sees
            assert (await client.get("/jobs?queue=images")).status_code == (200 if sees else 404)
