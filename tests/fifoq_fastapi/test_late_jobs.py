"""`LateJobs` enqueues after a good response and after a commit; `Jobs` at once, and `BackgroundTasks` in between."""

import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException

from fifoq import Fifoq
from fifoq.errors import ConfigurationError
from fifoq.testing import enqueued, fresh_store
from fifoq_fastapi import LateJobs, install_errors, lifespan

tasks = Fifoq("memory://")
seen: list[str] = []


@tasks.task(capacity=2)
async def welcome(user: str) -> str:
    return user


async def commits_after(late: LateJobs) -> AsyncIterator[None]:
    """A transaction whose jobs follow it: it depends on LateJobs, so it ends before."""
    yield
    seen.append(f"commit, {len(await enqueued(tasks))} jobs")


async def commits() -> AsyncIterator[None]:
    yield
    seen.append(f"commit, {len(await enqueued(tasks))} jobs")


@pytest.fixture(autouse=True)
def fresh() -> Any:
    seen.clear()
    with fresh_store(tasks):
        yield


def app_of(*, transaction: Any, late_first: bool, kind: str) -> FastAPI:
    app = FastAPI(lifespan=lifespan(tasks))
    install_errors(app)
    database = Annotated[None, Depends(transaction)]

    async def work(late: LateJobs, users: str) -> str:
        ids = [late.add_task(welcome, user) for user in users]
        assert not await enqueued(tasks)
        if "!" in users:
            raise HTTPException(400)
        return ids[0]

    if kind == "sync":

        @app.post("/{users}", status_code=202)
        def sync(users: str, late: LateJobs) -> str:
            return next(late.add_task(welcome, user) for user in users)

    elif late_first:

        @app.post("/{users}", status_code=202)
        async def first(users: str, late: LateJobs, db: database) -> str:
            return await work(late, users)

    else:

        @app.post("/{users}", status_code=202)
        async def second(users: str, db: database, late: LateJobs) -> str:
            return await work(late, users)

    return app


@pytest.mark.parametrize(
    ("transaction", "late_first"), [(commits_after, False), (commits_after, True), (commits, True)]
)
async def test_jobs_follow_the_commit_in_the_order_of_their_calls(serve, transaction: Any, late_first: bool) -> None:
    async with serve(app_of(transaction=transaction, late_first=late_first, kind="async")) as client:
        answer = await client.post("/ab")
        assert answer.status_code == 202
        jobs = await enqueued(tasks)
    assert seen == ["commit, 0 jobs"]
    assert [job.kwargs["user"] for job in jobs] == ["a", "b"]
    assert jobs[0].id == answer.json()


async def test_nothing_is_enqueued_if_the_route_raises(serve) -> None:
    async with serve(app_of(transaction=commits_after, late_first=True, kind="async")) as client:
        assert (await client.post("/a!")).status_code == 400
        assert not await enqueued(tasks)


async def test_a_sync_route_adds_calls_too(serve) -> None:
    async with serve(app_of(transaction=commits, late_first=True, kind="sync")) as client:
        answer = await client.post("/a")
        assert [job.id for job in await enqueued(tasks)] == [answer.json()]


async def test_a_call_that_finds_no_room_is_logged_and_the_others_are_enqueued(serve, caplog: Any) -> None:
    async with serve(app_of(transaction=commits, late_first=True, kind="async")) as client:
        with caplog.at_level(logging.ERROR, "fifoq.fastapi"):
            assert (await client.post("/abc")).status_code == 202
        assert len(await enqueued(tasks)) == 2
    (line,) = caplog.records
    assert "of task 'welcome' is lost" in line.getMessage()


async def test_wrong_calls_are_refused_in_the_route(serve) -> None:
    app = FastAPI(lifespan=lifespan(tasks))
    install_errors(app)

    @app.post("/")
    async def wrong(late: LateJobs) -> None:
        with pytest.raises(ConfigurationError, match=r"@tasks\.task"):
            late.add_task(print)  # pyright: ignore
        late.add_task(welcome, 7)  # pyright: ignore

    async with serve(app) as client:
        assert (await client.post("/")).status_code == 422
        assert not await enqueued(tasks)
