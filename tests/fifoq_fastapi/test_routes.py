"""The routes that show and change jobs, queues and keys do that, and answer 404 or 409 if there is nothing to do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from fifoq import Context, Fifoq, Retry
from fifoq.errors import GiveUp
from fifoq_fastapi import lifespan, router


class JobsApp:
    """An app with tasks that wait, run until a test releases them, or fail; and a client of the app."""

    def __init__(self, url: str, *, worker: bool = True) -> None:
        self.tasks = Fifoq(url, grace=0.1, lease=3.0)
        self.begun, self.open = asyncio.Event(), asyncio.Event()
        self.good = False
        self._define()
        self.app = FastAPI(lifespan=lifespan(self.tasks, worker=worker))
        self.app.include_router(router(self.tasks, expose="all", public=True), prefix="/q")
        self.client = httpx.AsyncClient()

    def _define(self) -> None:
        @self.tasks.task(key="line")
        async def hold(line: str = "a") -> str:
            self.begun.set()
            await self.open.wait()
            return line

        @self.tasks.task(queue="fragile", key="line", retry=Retry(attempts=1), after_failure="halt")
        async def fail(line: str = "a") -> str:
            if self.good:
                return "good"
            raise GiveUp("no")

        @self.tasks.task(queue="fragile")
        async def forget() -> None: ...

    async def post(self, task: str, line: str, id: str) -> None:
        answer = await self.client.post(f"/q/tasks/{task}", json={"line": line}, headers={"Idempotency-Key": id})
        assert answer.status_code == 202

    async def list(self, **filters: str) -> list[str]:
        """Return the ids on all pages. A page is of one queue."""
        seen: list[str] = []
        page: dict[str, object] = {"cursor": None}
        while True:
            cursor = {} if page["cursor"] is None else {"cursor": page["cursor"]}
            page = (await self.client.get("/q/jobs", params=filters | cursor)).json()
            assert len(page["jobs"]) <= int(filters.get("limit", 50))
            seen += [job["id"] for job in page["jobs"]]
            if page["cursor"] is None:
                return seen

    async def state(self, id: str, wait: float = 5) -> str:
        return (await self.client.get(f"/q/jobs/{id}", params={"wait": wait})).json()["state"]


@pytest.fixture
def opened(serve, url: str):
    @asynccontextmanager
    async def opening(**how: bool) -> AsyncIterator[JobsApp]:
        app = JobsApp(url, **how)
        async with serve(app.app) as app.client:
            yield app

    return opening


async def test_jobs_are_listed_in_order_of_entry_page_after_page(opened) -> None:
    async with opened(worker=False) as app:
        for n in range(5):
            await app.post("hold", f"l{n}", f"h{n}")
            await app.post("fail", f"l{n}", f"f{n}")
        seen = await app.list(limit="2")
    assert seen == [f"h{n}" for n in range(5)] + [f"f{n}" for n in range(5)]


async def test_jobs_are_filtered_by_state_queue_task_and_key(opened) -> None:
    async with opened(worker=False) as app:
        for n in range(3):
            await app.post("hold", f"l{n}", f"h{n}")
        await app.post("fail", "l1", "f1")
        await app.client.delete("/q/jobs/h2")
        for filters, ids in [
            ({"state": "cancelled"}, ["h2"]),
            ({"state": "waiting"}, ["h0", "h1", "f1"]),
            ({"queue": "fragile"}, ["f1"]),
            ({"task": "hold"}, ["h0", "h1", "h2"]),
            ({"key": "l1"}, ["h1", "f1"]),
            ({"key": "l1", "task": "fail"}, ["f1"]),
            ({"task": "nothing"}, []),
        ]:
            assert await app.list(**filters) == ids, filters


@pytest.mark.parametrize("path", ["/q/jobs", "/q/keys/blocked"])
async def test_absurd_pagination_is_422_and_names_the_parameter(opened, path: str) -> None:
    async with opened(worker=False) as app:
        for parameter, values in {
            "limit": ["0", "-1", "101", "1e9", "many", str(10**30)],
            "cursor": [
                "",
                "x",
                "99:q",
                "7:defaultx",
                "7:default-1",
                "7:default[",
                f"7:default{10**40}",
                "7:default[1]",
            ],
            "queue": ["", "x" * 129],
        }.items():
            for value in values:
                answer = await app.client.get(path, params={parameter: value})
                assert (answer.status_code, answer.json()["parameter"]) == (422, parameter), (parameter, value)
                assert answer.headers["content-type"] == "application/problem+json"
        assert (await app.client.get("/q/jobs", params={"state": "blocked"})).json()["parameter"] == "state"
        assert (await app.client.get(path, params={"queue": "unknown"})).json()["type"] == "urn:fifoq:unknown-queue"


async def test_a_waiting_job_is_cancelled_at_once_and_a_repeat_is_harmless(opened) -> None:
    async with opened(worker=False) as app:
        await app.post("hold", "a", "j")
        for _ in range(2):
            answer = await app.client.delete("/q/jobs/j")
            assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        assert answer.json()["reason"] == "cancelled over HTTP"


async def test_a_running_job_is_asked_to_stop(opened) -> None:
    async with opened() as app:
        await app.post("hold", "a", "j")
        await app.begun.wait()
        answer = await app.client.delete("/q/jobs/j")
        assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)
        assert await app.state("j", wait=10) == "cancelled"


async def test_a_job_that_is_not_kept_is_cancelled_with_204(opened) -> None:
    async with opened(worker=False) as app:
        forget = app.tasks.tasks["forget"]

        @app.tasks.task(queue="fragile", retain=0)
        async def fleeting() -> None: ...

        job = await fleeting.enqueue()
        answer = await app.client.delete(f"/q/jobs/{job.id}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await app.client.get(f"/q/jobs/{job.id}")).status_code == 404
        assert forget.queue == fleeting.queue


async def test_a_failed_job_is_requeued_at_its_place_and_its_successor_follows(opened) -> None:
    async with opened() as app:
        await app.post("fail", "a", "j1")
        await app.post("fail", "a", "j2")
        assert await app.state("j1") == "failed"
        assert (await app.client.get("/q/jobs/j2")).json()["state"] == "waiting"
        blocked = (await app.client.get("/q/keys/blocked")).json()["keys"]
        assert [(key["queue"], key["key"], key["job_id"], key["reason"]) for key in blocked] == [
            ("fragile", "a", "j1", "halted")
        ]
        app.good = True
        answer = await app.client.post("/q/jobs/j1/requeue")
        assert (answer.status_code, answer.json()["id"]) == (200, "j1")
        assert [await app.state("j1"), await app.state("j2")] == ["succeeded", "succeeded"]
        again = await app.client.post("/q/jobs/j1/requeue")
        assert (again.status_code, again.json()["type"]) == (409, "urn:fifoq:not-failed")


async def test_a_halted_job_is_skipped_once(opened) -> None:
    async with opened() as app:
        await app.post("fail", "a", "j1")
        await app.post("fail", "a", "j2")
        assert await app.state("j1") == "failed"
        app.good = True
        assert (await app.client.post("/q/jobs/j1/skip")).status_code == 200
        assert await app.state("j2") == "succeeded"
        again = await app.client.post("/q/jobs/j1/skip")
        assert (again.status_code, again.json()["type"]) == (409, "urn:fifoq:holds-no-key")


async def test_a_requeue_against_another_job_with_its_unique_text_is_422(opened) -> None:
    async with opened() as app:
        fail = app.tasks.tasks["fail"]
        job = await fail.options(unique="u", id="j1").enqueue("a")
        assert await app.state("j1") == "failed"
        await app.client.post("/q/jobs/j1/skip")
        await app.client.post("/q/queues/fragile/pause")
        other = await fail.options(unique="u", id="j2").enqueue("b")
        answer = await app.client.post(f"/q/jobs/{job.id}/requeue")
        assert (answer.status_code, answer.json()["job_id"]) == (422, other.id)


async def test_every_route_of_an_unknown_job_is_404(opened) -> None:
    async with opened(worker=False) as app:
        for method, path in [
            ("GET", "/q/jobs/none"),
            ("GET", "/q/jobs/none?wait=1"),
            ("GET", "/q/jobs/none/events"),
            ("GET", "/q/jobs/"),
            ("DELETE", "/q/jobs/none"),
            ("POST", "/q/jobs/none/requeue"),
            ("POST", "/q/jobs/none/skip"),
        ]:
            answer = await app.client.request(method, path)
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:fifoq:job-not-found"), path


async def test_a_queue_a_task_and_a_key_are_paused_and_resumed_repeatedly(opened) -> None:
    async with opened() as app:
        app.good = True
        for number, part in enumerate([{}, {"task": "fail"}, {"key": "a"}]):
            for _ in range(2):
                answer = await app.client.post("/q/queues/fragile/pause", params=part)
                assert (answer.status_code, answer.content) == (204, b"")
            await app.post("fail", "a", f"j{number}")
            assert await app.state(f"j{number}", wait=0.1) == "waiting"
            if part.get("key"):
                blocked = (await app.client.get("/q/keys/blocked", params={"queue": "fragile"})).json()["keys"]
                assert [(key["key"], key["reason"]) for key in blocked] == [("a", "paused")]
            for _ in range(2):
                assert (await app.client.post("/q/queues/fragile/resume", params=part)).status_code == 204
            assert await app.state(f"j{number}") == "succeeded"


async def test_an_unknown_queue_is_neither_paused_nor_made(opened) -> None:
    async with opened(worker=False) as app:
        for name in ("nothing", "{x}", "a%2Fb"):
            for verb in ("pause", "resume"):
                answer = await app.client.post(f"/q/queues/{name}/{verb}")
                assert (answer.status_code, answer.json()["type"]) == (404, "urn:fifoq:unknown-queue")
        assert [queue["name"] for queue in (await app.client.get("/q/queues")).json()["queues"]] == [
            "default",
            "fragile",
        ]
        both = await app.client.post("/q/queues/default/pause", params={"task": "hold", "key": "a"})
        assert (both.status_code, both.json()["parameter"]) == (422, "key")


async def test_queues_are_counted(opened) -> None:
    async with opened() as app:
        await app.post("hold", "a", "j1")
        await app.begun.wait()
        await app.post("hold", "a", "j2")
        default, fragile = (await app.client.get("/q/queues")).json()["queues"]
    assert (default["name"], default["running"], default["waiting"]) == ("default", 1, 1)
    assert default["oldest_waiting"] >= 0
    assert fragile.pop("gates")[0]["live"] == 0
    shown = {"name": "fragile", "oldest_waiting": None, "declared": True, "paused": False}
    assert fragile == dict.fromkeys(fragile, 0) | shown


async def test_a_job_of_a_task_that_is_not_registered_here_is_awaited_too(serve, url: str) -> None:
    url = url.replace("memory://", "memory://two-apps")
    other, tasks = Fifoq(url), Fifoq(url)

    @other.task
    async def elsewhere() -> str:
        return "done"

    tasks.queue("default")
    app = FastAPI(lifespan=lifespan(tasks))
    app.include_router(router(tasks, expose="all", public=True))
    async with serve(app) as client, other:
        job = await elsewhere.enqueue()
        waiting = asyncio.create_task(client.get(f"/jobs/{job.id}", params={"wait": 20}))
        await asyncio.sleep(0.05)
        async with other.worker():
            answer = await waiting
    assert (answer.json()["state"], answer.json()["result"]) == ("succeeded", "done")


async def test_progress_and_context_tasks_are_shown(serve, url: str) -> None:
    tasks = Fifoq(url)
    reported, go_on = asyncio.Event(), asyncio.Event()

    @tasks.task
    async def count(ctx: Context, to: int) -> int:
        await ctx.progress(1, to, "counting")
        reported.set()
        await go_on.wait()
        return to

    app = FastAPI(lifespan=lifespan(tasks, worker=True))
    app.include_router(router(tasks, expose="all", public=True))
    async with serve(app) as client:
        where = (await client.post("/tasks/count", json={"to": 3})).headers["location"]
        await reported.wait()
        progress = None
        while progress is None:
            progress = (await client.get(where)).json()["progress"]
        go_on.set()
    assert progress == {"done": 1, "total": 3, "note": "counting"}
