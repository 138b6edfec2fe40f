"""A job's stream: each change once, with an id to resume from; it ends with the job, its reader, or the server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from fifoq import Context, Fifoq
from fifoq.errors import BackendUnavailable
from fifoq_fastapi import lifespan, router


class Event(NamedTuple):
    name: str
    data: Any
    id: str | None


class Show:
    """An app with a task that reports its progress when it is told to, and a client."""

    def __init__(self, url: str, streams: int) -> None:
        self.tasks = Fifoq(url, grace=0.1, lease=3.0)
        self.steps: asyncio.Queue[int | None] = asyncio.Queue()

        @self.tasks.task(key="line", retain=60)
        async def count(ctx: Context, line: str = "a") -> str:
            while (step := await self.steps.get()) is not None:
                await ctx.progress(step, 9)
            return line

        self.count = count
        self.app = FastAPI(lifespan=lifespan(self.tasks, worker=True))
        self.app.include_router(router(self.tasks, expose="all", public=True, streams=streams), prefix="/q")
        self.client = httpx.AsyncClient()

    async def begin(self, id: str) -> None:
        await self.client.post("/q/tasks/count", headers={"Idempotency-Key": id})
        while (await self.client.get(f"/q/jobs/{id}")).json()["state"] != "running":  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    @asynccontextmanager
    async def follow(self, id: str, last: str | None = None) -> AsyncIterator[AsyncIterator[Event]]:
        headers = {} if last is None else {"Last-Event-ID": last}
        async with self.client.stream("GET", f"/q/jobs/{id}/events", headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield events_of(answer)


async def events_of(answer: httpx.Response) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, colon, value = line.partition(": ")
        if colon:
            fields[name] = value
        elif fields.get("event"):
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}
        elif "" in fields:
            yield Event("comment", fields.pop(""), None)


@pytest.fixture
def show(serve, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fifoq_fastapi.events.POLL_INTERVAL", 0.02)

    @asynccontextmanager
    async def opening(streams: int = 10) -> AsyncIterator[Show]:
        show = Show(url, streams)
        async with serve(show.app) as show.client:
            yield show
            for _ in range(10):
                show.steps.put_nowait(None)

    return opening


async def test_a_stream_tells_each_change_and_ends_with_the_job(show) -> None:
    async with show() as it:
        await it.begin("j")
        async with asyncio.timeout(20), it.follow("j") as events:
            first = await anext(events)
            assert (first.name, first.data["id"], first.data["state"]) == ("state", "j", "running")
            it.steps.put_nowait(4)
            second = await anext(events)
            assert (second.name, second.data) == ("progress", {"done": 4, "total": 9, "note": ""})
            it.steps.put_nowait(None)
            last = await anext(events)
            assert (last.name, last.data["state"], last.data["result"]) == ("state", "succeeded", "a")
            assert [event async for event in events] == []
        assert len({first.id, second.id, last.id}) == 3


async def test_a_stream_of_a_waiting_job_begins_with_its_wait(show) -> None:
    async with show() as it:
        await it.begin("j")
        await it.client.post("/q/tasks/count", headers={"Idempotency-Key": "k"})
        async with asyncio.timeout(20), it.follow("k") as events:
            assert (await anext(events)).data["state"] == "waiting"
            it.steps.put_nowait(None)
            assert (await anext(events)).data["state"] == "running"
            await it.client.delete("/q/jobs/k")
            assert (await anext(events)).data["cancel_requested"] is True
            assert (await anext(events)).data["state"] == "cancelled"


async def test_the_end_is_told_at_once_not_with_the_next_look(show, monkeypatch: pytest.MonkeyPatch) -> None:
    async with show() as it:
        monkeypatch.setattr("fifoq_fastapi.events.POLL_INTERVAL", 3600)
        await it.begin("j")
        async with asyncio.timeout(20), it.follow("j") as events:
            await anext(events)
            it.steps.put_nowait(None)
            assert (await anext(events)).data["state"] == "succeeded"


async def test_who_comes_back_with_the_last_id_is_told_only_what_is_new(show) -> None:
    async with show() as it:
        await it.begin("j")
        async with asyncio.timeout(20):
            async with it.follow("j") as events:
                seen = (await anext(events)).id
            async with it.follow("j", last=seen) as events:
                assert (await anext(events)).name == "comment"
                it.steps.put_nowait(5)
                assert (await anext(events)).data == {"done": 5, "total": 9, "note": ""}
            async with it.follow("j", last=seen) as events:  # missed the progress: is told how it is now
                assert (await anext(events)).data["progress"]["done"] == 5
            it.steps.put_nowait(None)
            async with it.follow("j", last=seen) as events:
                end = [event async for event in events][-1]
        again = await it.client.get("/q/jobs/j/events", headers={"Last-Event-ID": end.id})
        other = await it.client.get("/q/jobs/j/events", headers={"Last-Event-ID": "another"})
    assert end.data["state"] == "succeeded"
    assert (again.status_code, again.content) == (204, b"")
    assert (other.status_code, other.text.count("event: state")) == (200, 1)


async def test_a_silent_stream_is_kept_alive(show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fifoq_fastapi.events.KEEP_ALIVE", 0.05)
    async with show() as it:
        await it.begin("j")
        async with asyncio.timeout(20), it.follow("j") as events:
            await anext(events)
            assert await anext(events) == ("comment", "ping", None)
            it.steps.put_nowait(None)
            names = [event.name async for event in events]
            assert names[-1] == "state"


async def test_streams_are_bounded_and_a_reader_that_leaves_makes_room(show) -> None:
    async with show(streams=2) as it:
        await it.begin("j")
        async with asyncio.timeout(20), it.follow("j") as one:
            await anext(one)
            async with it.follow("j") as two:
                await anext(two)
                refused = await it.client.get("/q/jobs/j/events")
                assert (refused.status_code, refused.json()["type"]) == (503, "urn:fifoq:too-many-streams")
                assert int(refused.headers["retry-after"]) >= 1
                assert (await it.client.get("/q/jobs/none/events")).status_code == 404
            while not await has_room(it):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def has_room(it: Show) -> bool:
    async with it.client.stream("GET", "/q/jobs/j/events") as answer:
        return answer.status_code == 200


async def test_many_streams_of_a_queue_are_one_look_a_tick(show, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[list[str]] = []
    get_many = Fifoq.get_many

    async def counted(self: Fifoq, ids: list[str], *, queue: str) -> Any:
        looks.append(ids)
        return await get_many(self, ids, queue=queue)

    monkeypatch.setattr(Fifoq, "get_many", counted)
    async with show() as it:
        for id in ("a", "b"):
            await it.client.post("/q/tasks/count", json={"line": id}, headers={"Idempotency-Key": id})
        async with asyncio.timeout(20), it.follow("a") as one, it.follow("a") as two, it.follow("b") as three:
            for events in (one, two, three):
                await anext(events)
            looks.clear()
            began = time.monotonic()
            await asyncio.sleep(0.2)
            assert 1 <= len(looks) <= (time.monotonic() - began) / 0.02 + 1
            assert all(sorted(ids) == ["a", "b"] for ids in looks[1:])
            it.steps.put_nowait(None)
            it.steps.put_nowait(None)
            for events in (one, two, three):
                assert [event async for event in events][-1].data["state"] == "succeeded"
        await asyncio.sleep(0.05)
        looks.clear()
        await asyncio.sleep(0.1)
        assert not looks, "nobody follows any more"


async def test_a_store_that_is_gone_for_a_while_interrupts_no_stream(show, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = 0

    async def down(self: Fifoq, *args: object, **kwargs: object) -> Any:
        nonlocal failures
        failures += 1
        raise BackendUnavailable("gone")

    async with show() as it:
        await it.begin("j")
        async with asyncio.timeout(20), it.follow("j") as events:
            await anext(events)
            with monkeypatch.context() as patch:
                patch.setattr(Fifoq, "get_many", down)
                while failures < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            it.steps.put_nowait(3)
            assert (await anext(events)).data["done"] == 3


async def test_a_job_that_is_no_longer_kept_ends_its_stream(show) -> None:
    async with show() as it:
        await it.begin("running")

        @it.tasks.task(queue="default", key="line", retain=0)
        async def fleeting(line: str = "a") -> None: ...

        job = await fleeting.enqueue()
        async with asyncio.timeout(20), it.follow(job.id) as events:
            await anext(events)
            await job.cancel()
            last = [event async for event in events][-1]
    # A store may tell the end of a job that it removes in the same step, or not.
    assert last.name == "gone" or last.data["state"] == "cancelled"


async def test_streams_and_waits_end_when_the_server_is_told_to_stop(show) -> None:
    async with show() as it:
        await it.begin("j")
        async with asyncio.timeout(20), it.follow("j") as events:
            await anext(events)
            waiting = asyncio.create_task(it.client.get("/q/jobs/j", params={"wait": 30}))
            posting = asyncio.create_task(it.client.post("/q/tasks/count", params={"wait": 30}))
            while len((await it.client.get("/q/jobs")).json()["jobs"]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            it.client.server.should_exit = True
            assert [event async for event in events] == []
            assert [(await waiting).json()["state"], (await posting).status_code] == ["running", 202]
