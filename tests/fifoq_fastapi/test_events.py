"""A job's stream sends each change once, with an id to resume from. It ends with the job, its client, or the server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Annotated, Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI, Header
from hypothesis import given
from hypothesis import strategies as st

from fifoq import Context, Fifoq
from fifoq.errors import BackendUnavailable
from fifoq_fastapi import lifespan, router
from fifoq_fastapi.events import JobFollower, Streams


class Event(NamedTuple):
    name: str
    data: Any
    id: str | None


class StreamApp:
    """An app with a task that reports progress when a test triggers it, and a client of the app."""

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
def opened(serve, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fifoq_fastapi.events.POLL_INTERVAL", 0.02)

    @asynccontextmanager
    async def opening(streams: int = 10) -> AsyncIterator[StreamApp]:
        app = StreamApp(url, streams)
        async with serve(app.app) as app.client:
            yield app
            for _ in range(10):
                app.steps.put_nowait(None)

    return opening


async def test_a_stream_sends_each_change_and_ends_with_the_job(opened) -> None:
    async with opened() as app:
        await app.begin("j")
        async with asyncio.timeout(20), app.follow("j") as events:
            first = await anext(events)
            assert (first.name, first.data["id"], first.data["state"]) == ("state", "j", "running")
            app.steps.put_nowait(4)
            second = await anext(events)
            assert (second.name, second.data) == ("progress", {"done": 4, "total": 9, "note": ""})
            app.steps.put_nowait(None)
            last = await anext(events)
            assert (last.name, last.data["state"], last.data["result"]) == ("state", "succeeded", "a")
            assert [event async for event in events] == []
        assert len({first.id, second.id, last.id}) == 3


async def test_a_stream_of_a_waiting_job_begins_with_its_wait(opened) -> None:
    async with opened() as app:
        await app.begin("j")
        await app.client.post("/q/tasks/count", headers={"Idempotency-Key": "k"})
        async with asyncio.timeout(20), app.follow("k") as events:
            assert (await anext(events)).data["state"] == "waiting"
            app.steps.put_nowait(None)
            assert (await anext(events)).data["state"] == "running"
            await app.client.delete("/q/jobs/k")
            assert (await anext(events)).data["cancel_requested"] is True
            assert (await anext(events)).data["state"] == "cancelled"


async def test_the_end_is_sent_at_once_and_not_after_the_next_query(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as app:
        monkeypatch.setattr("fifoq_fastapi.events.POLL_INTERVAL", 3600)
        await app.begin("j")
        async with asyncio.timeout(20), app.follow("j") as events:
            await anext(events)
            app.steps.put_nowait(None)
            assert (await anext(events)).data["state"] == "succeeded"


async def test_a_client_that_reconnects_with_its_last_id_gets_only_newer_events(opened) -> None:
    async with opened() as app:
        await app.begin("j")
        async with asyncio.timeout(20):
            async with app.follow("j") as events:
                seen = (await anext(events)).id
            async with app.follow("j", last=seen) as events:
                assert (await anext(events)).name == "comment"
                app.steps.put_nowait(5)
                assert (await anext(events)).data == {"done": 5, "total": 9, "note": ""}
            async with app.follow("j", last=seen) as events:  # this client missed the progress: it gets the state
                assert (await anext(events)).data["progress"]["done"] == 5
            app.steps.put_nowait(None)
            async with app.follow("j", last=seen) as events:
                end = [event async for event in events][-1]
        again = await app.client.get("/q/jobs/j/events", headers={"Last-Event-ID": end.id})
        other = await app.client.get("/q/jobs/j/events", headers={"Last-Event-ID": "another"})
    assert end.data["state"] == "succeeded"
    assert (again.status_code, again.content) == (204, b"")
    assert (other.status_code, other.text.count("event: state")) == (200, 1)


async def test_a_silent_stream_is_kept_alive(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fifoq_fastapi.events.KEEP_ALIVE", 0.05)
    async with opened() as app:
        await app.begin("j")
        async with asyncio.timeout(20), app.follow("j") as events:
            await anext(events)
            assert await anext(events) == ("comment", "ping", None)
            app.steps.put_nowait(None)
            names = [event.name async for event in events]
            assert names[-1] == "state"


async def test_streams_are_bounded_and_a_reader_that_leaves_makes_room(opened) -> None:
    async with opened(streams=2) as app:
        await app.begin("j")
        async with asyncio.timeout(20), app.follow("j") as one:
            await anext(one)
            async with app.follow("j") as two:
                await anext(two)
                refused = await app.client.get("/q/jobs/j/events")
                assert (refused.status_code, refused.json()["type"]) == (503, "urn:fifoq:too-many-streams")
                assert int(refused.headers["retry-after"]) >= 1
                assert (await app.client.get("/q/jobs/none/events")).status_code == 404
            while not await has_room(app):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def has_room(app: StreamApp) -> bool:
    async with app.client.stream("GET", "/q/jobs/j/events") as answer:
        return answer.status_code == 200


async def test_many_streams_of_a_queue_share_one_query_an_interval(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[list[str]] = []
    get_many = Fifoq.get_many

    async def counted(self: Fifoq, ids: list[str], *, queue: str) -> Any:
        queries.append(ids)
        return await get_many(self, ids, queue=queue)

    monkeypatch.setattr(Fifoq, "get_many", counted)
    async with opened() as app:
        for id in ("a", "b"):
            await app.client.post("/q/tasks/count", json={"line": id}, headers={"Idempotency-Key": id})
        async with asyncio.timeout(20), app.follow("a") as one, app.follow("a") as two, app.follow("b") as three:
            for events in (one, two, three):
                await anext(events)
            queries.clear()
            began = time.monotonic()
            await asyncio.sleep(0.2)
            assert 1 <= len(queries) <= (time.monotonic() - began) / 0.02 + 1
            assert all(sorted(ids) == ["a", "b"] for ids in queries[1:])
            app.steps.put_nowait(None)
            app.steps.put_nowait(None)
            for events in (one, two, three):
                assert [event async for event in events][-1].data["state"] == "succeeded"
        await asyncio.sleep(0.05)
        queries.clear()
        await asyncio.sleep(0.1)
        assert not queries, "no client follows a job any more"


async def test_a_store_that_is_gone_for_a_while_interrupts_no_stream(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = 0

    async def down(self: Fifoq, *args: object, **kwargs: object) -> Any:
        nonlocal failures
        failures += 1
        raise BackendUnavailable("gone")

    async with opened() as app:
        await app.begin("j")
        async with asyncio.timeout(20), app.follow("j") as events:
            await anext(events)
            with monkeypatch.context() as patch:
                patch.setattr(Fifoq, "get_many", down)
                while failures < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            app.steps.put_nowait(3)
            assert (await anext(events)).data["done"] == 3


async def test_a_job_that_is_no_longer_kept_ends_its_stream(opened) -> None:
    async with opened() as app:
        await app.begin("running")

        @app.tasks.task(queue="default", key="line", retain=0)
        async def fleeting(line: str = "a") -> None: ...

        job = await fleeting.enqueue()
        async with asyncio.timeout(20), app.follow(job.id) as events:
            await anext(events)
            await job.cancel()
            last = [event async for event in events][-1]
    # A backend may or may not report the end of a job that it removes in the same step.
    assert last.name == "gone" or last.data["state"] == "cancelled"


async def test_streams_and_waits_end_when_the_server_stops(opened) -> None:
    async with opened() as app:
        await app.begin("j")
        async with asyncio.timeout(20), app.follow("j") as events:
            await anext(events)
            waiting = asyncio.create_task(app.client.get("/q/jobs/j", params={"wait": 30}))
            posting = asyncio.create_task(app.client.post("/q/tasks/count", params={"wait": 30}))
            while len((await app.client.get("/q/jobs")).json()["jobs"]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            app.client.server.should_exit = True
            assert [event async for event in events] == []
            assert [(await waiting).json()["state"], (await posting).status_code] == ["running", 202]


# ---- shares of owners ----


class TakenSlots:
    """The slots that each owner has taken of a router's streams."""

    def __init__(self, limit: int) -> None:
        self.streams = Streams(JobFollower(Fifoq("memory://")), limit)
        self.by_owner: dict[str, list[ExitStack]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.by_owner.values()))

    def take(self, owner: str) -> bool:
        slot = ExitStack()
        has_slot = slot.enter_context(self.streams.slot(owner))
        if has_slot:
            self.by_owner.setdefault(owner, []).append(slot)
        else:
            slot.close()
        return has_slot

    def leave(self, owner: str) -> None:
        slots = self.by_owner.get(owner, [])
        if slots:
            slots.pop().close()
        if not slots:
            self.by_owner.pop(owner, None)


@given(
    limit=st.integers(1, 12),
    moves=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60),
    greedy=st.integers(0, 4),
)
def test_the_streams_of_some_owners_leave_room_for_the_first_one_of_another(
    limit: int, moves: list[tuple[int, bool]], greedy: int
) -> None:
    slots = TakenSlots(limit)
    for owner, opens in moves:
        if not opens:
            slots.leave(str(owner))
        elif str(owner) not in slots.by_owner:
            room = len(slots) < limit
            assert slots.take(str(owner)) == room
        else:
            slots.take(str(owner))
    for owner in range(greedy):
        while slots.take(f"greedy {owner}"):
            pass
    assert len(slots) <= limit
    if len(slots.by_owner) <= limit // 2:
        assert slots.take("another")
    for owner in list(slots.by_owner):
        while owner in slots.by_owner:
            slots.leave(owner)
    assert [slots.take("again") for _ in range(limit + 1)].count(True) == (limit + 1) // 2


@given(limit=st.integers(0, 12))
def test_callers_without_owners_share_all_streams(limit: int) -> None:
    streams = Streams(JobFollower(Fifoq("memory://")), limit)
    for _ in range(2):
        with ExitStack() as stack:
            assert [stack.enter_context(streams.slot(None)) for _ in range(limit)] == [True] * limit
            assert not stack.enter_context(streams.slot(None))


async def user(x_user: Annotated[str, Header()]) -> str:
    return x_user


ADA, BOB = {"x-user": "ada"}, {"x-user": "bob"}


@asynccontextmanager
async def with_owners(serve, streams: int) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a router with a job of Ada and one of Bob, both called `j`, that nothing begins."""
    tasks = Fifoq("memory://")

    @tasks.task
    async def work() -> None: ...

    app = FastAPI(lifespan=lifespan(tasks))
    app.include_router(router(tasks, expose="all", auth=user, owner=str, streams=streams))
    async with serve(app) as client, asyncio.timeout(20):
        for owner in (ADA, BOB):
            await client.post("/tasks/work", headers=owner | {"Idempotency-Key": "j"})
        yield client


@pytest.mark.parametrize("limit", [2, 3, 8])
async def test_an_owner_that_takes_all_streams_it_can_leaves_one_for_another(serve, limit: int) -> None:
    async with with_owners(serve, limit) as client:

        async def opened(stack: AsyncExitStack, owner: dict[str, str], number: int) -> int:
            streams = [client.stream("GET", "/jobs/j/events", headers=owner) for _ in range(number)]
            return [(await stack.enter_async_context(each)).status_code for each in streams].count(200)

        share = (limit + 1) // 2
        async with AsyncExitStack() as adas, AsyncExitStack() as bobs:
            assert await opened(adas, ADA, limit) == share
            assert await opened(bobs, BOB, 1) == 1
            await adas.aclose()  # the server notices a little later that these readers have left
            while await opened(adas, ADA, limit) != share:
                await adas.aclose()
            await client.delete("/jobs/j", headers=ADA)  # its end ends the streams, a little later, too
            while await opened(adas, ADA, 1) != 1:
                pass


async def test_an_owner_with_many_waits_leaves_room_for_the_wait_and_the_stream_of_another(
    serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished, begun = Fifoq.finished, asyncio.Semaphore(0)

    async def noted(self: Fifoq, *args: Any, **kwargs: Any) -> Any:
        begun.release()
        return await finished(self, *args, **kwargs)

    monkeypatch.setattr(Fifoq, "finished", noted)
    async with with_owners(serve, streams=3) as client, asyncio.TaskGroup() as group:

        def wait(owner: dict[str, str]) -> asyncio.Task[httpx.Response]:
            return group.create_task(client.get("/jobs/j", params={"wait": 30}, headers=owner))

        waits = [wait(ADA) for _ in range(50)]
        for _ in waits:
            await begun.acquire()
        of_bob = wait(BOB)
        await begun.acquire()
        async with client.stream("GET", "/jobs/j/events", headers=BOB) as stream:
            assert stream.status_code == 200
        await client.delete("/jobs/j", headers=BOB)
        assert (await of_bob).json()["state"] == "cancelled"
        assert not any(each.done() for each in waits)
        await client.delete("/jobs/j", headers=ADA)
        assert {(await each).json()["state"] for each in waits} == {"cancelled"}
