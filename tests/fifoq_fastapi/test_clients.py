"""Apps under test clients: with or without lifespan, in a thread, with overridden dependencies, or several at once."""

from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.testclient import TestClient

from fifoq import Fifoq
from fifoq.testing import assert_enqueued, assert_enqueued_sync, drain, drain_sync
from fifoq_fastapi import Jobs, RateLimit, install_errors, lifespan, router

pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with")


async def user(x_user: Annotated[str | None, Header()] = None) -> str:
    if x_user is None:
        raise HTTPException(401, "who are you?")
    return x_user


def make(url: str, *, worker: bool = False) -> tuple[Fifoq, FastAPI]:
    tasks = Fifoq(url)

    @tasks.task(key="email")
    async def welcome(email: str) -> str:
        return f"sent to {email}"

    app = FastAPI(lifespan=lifespan(tasks, worker=worker))
    app.include_router(router(tasks, expose="all", auth=user), prefix="/q")
    install_errors(app)

    @app.post("/signup", status_code=202)
    async def signup(email: str, jobs: Jobs) -> str:
        return (await jobs.add_task(welcome, email)).id

    @app.post("/slow-signup", status_code=202)
    def slow_signup(email: str) -> str:
        return welcome.enqueue_sync(email).id

    return tasks, app


def test_under_a_test_client_jobs_are_enqueued_run_and_shown(url: str) -> None:
    tasks, app = make(url)
    welcome = tasks.tasks["welcome"]
    with TestClient(app) as client:
        for path in ("/signup", "/slow-signup"):
            assert client.post(path, params={"email": "ada"}).status_code == 202
        job = assert_enqueued_sync(tasks, welcome, "ada")
        assert job.state == "waiting"
        drain_sync(tasks)
        done = client.get(f"/q/jobs/{job.id}", headers={"x-user": "u"}).json()
        assert (done["state"], done["result"]) == ("succeeded", "sent to ada")


def test_under_a_test_client_an_embedded_worker_works(url: str) -> None:
    _, app = make(url, worker=True)
    with TestClient(app, headers={"x-user": "u"}) as client:
        answer = client.post("/q/tasks/welcome?wait=10", json={"email": "ada"})
        assert (answer.status_code, answer.json()["result"]) == (200, "sent to ada")
        with client.stream("GET", f"/q/jobs/{answer.json()['id']}/events") as events:
            assert "event: state" in events.read().decode()
        assert client.get("/q/ready").status_code == 200


async def test_over_the_asgi_transport_the_fifoq_is_opened_by_the_test(url: str) -> None:
    tasks, app = make(url)
    transport = httpx.ASGITransport(app)
    async with tasks, httpx.AsyncClient(transport=transport, base_url="http://app", headers={"x-user": "u"}) as client:
        accepted = await client.post("/q/tasks/welcome", json={"email": "ada"})
        assert accepted.status_code == 202
        await assert_enqueued(tasks, tasks.tasks["welcome"], email="ada")
        await drain(tasks)
        assert (await client.get(accepted.headers["location"])).json()["state"] == "succeeded"
        assert (await client.get(f"{accepted.headers['location']}/events")).text.count("event: state") == 1
        assert (await client.get("/q/ready")).status_code == 200


async def test_over_the_asgi_transport_the_lifespan_may_be_run_by_the_test(url: str) -> None:
    _, app = make(url, worker=True)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app", headers={"x-user": "u"}) as client,
    ):
        answer = await client.post("/q/tasks/welcome?wait=10", json={"email": "ada"})
    assert answer.json()["state"] == "succeeded"


def test_without_its_lifespan_an_app_answers_500_and_logs_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    _, app = make("memory://")
    client = TestClient(app)
    assert client.post("/signup", params={"email": "ada"}).status_code == 500
    assert "lifespan=lifespan(tasks)" in caplog.text


def test_auth_and_rate_limits_may_be_overridden() -> None:
    tasks, app = make("memory://")
    limit = RateLimit(burst=1, per_second=0.001)

    @app.get("/limited", dependencies=[Depends(limit)])
    async def limited() -> None: ...

    app.dependency_overrides[user] = lambda: "tester"
    with TestClient(app) as client:
        assert client.post("/q/tasks/welcome", json={"email": "a"}).status_code == 202
        assert [client.get("/limited").status_code for _ in range(2)] == [200, 429]
        app.dependency_overrides[limit] = lambda: None
        assert client.get("/limited").status_code == 200
    assert not tasks.is_open


async def test_two_fifoqs_live_in_one_app_each_with_its_worker_and_router(serve, url: str) -> None:
    one, two = Fifoq(url), Fifoq("memory://")

    @one.task
    async def first() -> str:
        return "of one"

    @two.task
    async def second() -> str:
        return "of two"

    app = FastAPI(lifespan=lifespan(one, worker=True, then=lifespan(two, worker=True)))
    app.include_router(router(one, expose="all", public=True), prefix="/one")
    app.include_router(router(two, expose="all", public=True, name="second"), prefix="/two")
    async with serve(app) as client:
        assert (await client.post("/one/tasks/first?wait=5")).json()["result"] == "of one"
        assert (await client.post("/two/tasks/second?wait=5")).json()["result"] == "of two"
        assert (await client.post("/one/tasks/second")).status_code == 404
        for prefix in ("/one", "/two"):
            assert (await client.get(f"{prefix}/ready")).status_code == 200
        waits = [client.get(f"/{each}/ready") for each in ("one", "two")]
        assert {(await each).json()["status"] for each in waits} == {"ready"}
    assert not one.is_open
    assert not two.is_open


@pytest.mark.parametrize("idle", ["one", "two"])
async def test_a_worker_of_one_fifoq_that_does_not_claim_leaves_the_other_ready(
    serve, monkeypatch: pytest.MonkeyPatch, idle: str
) -> None:
    one, two = Fifoq("memory://"), Fifoq("memory://")
    inner = lifespan(two, worker=idle == "two")
    app = FastAPI(lifespan=lifespan(one, worker=idle == "one", then=inner))
    app.include_router(router(one, expose="all", public=True), prefix="/one")
    app.include_router(router(two, expose="all", public=True, name="second"), prefix="/two")
    monkeypatch.setattr("fifoq.worker.worker.Worker.ready", False)
    async with serve(app) as client:
        for each in ("one", "two"):
            assert (await client.get(f"/{each}/ready")).status_code == (503 if each == idle else 200)


@pytest.mark.filterwarnings("ignore:The `root_path`")
async def test_the_location_holds_behind_a_proxy_that_strips_a_prefix(serve) -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def work() -> None: ...

    app = FastAPI(lifespan=lifespan(tasks), root_path="/api")
    app.include_router(router(tasks, expose="all", public=True), prefix="/q")
    async with serve(app) as client:
        answer = await client.post("/q/tasks/work", headers={"Idempotency-Key": "k"})
    assert answer.headers["location"] == "/api/q/jobs/k"


async def test_a_mounted_app_uses_what_the_outer_lifespan_opened(serve, url: str) -> None:
    tasks = Fifoq(url)

    @tasks.task
    async def work() -> str:
        return "done"

    inner, outer = FastAPI(), FastAPI(lifespan=lifespan(tasks, worker=True))
    inner.include_router(router(tasks, expose="all", public=True), prefix="/queue")
    outer.include_router(router(tasks, expose="all", public=True, name="outer"))
    outer.mount("/api", inner)
    async with serve(outer) as client:
        answer = await client.post("/api/queue/tasks/work?wait=5")
        assert (answer.status_code, answer.json()["result"]) == (200, "done")
        where = answer.headers["location"]
        assert where.startswith("/api/queue/jobs/")
        assert (await client.get(where)).json() == (await client.get(f"/jobs/{answer.json()['id']}")).json()
        assert (await client.get("/api/queue/ready")).status_code == 200
