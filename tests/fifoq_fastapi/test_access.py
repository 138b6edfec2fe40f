"""A router is guarded or explicitly public. For an owner the jobs of other owners do not exist."""

from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException
from fastapi.security import SecurityScopes

from fifoq import Fifoq
from fifoq.errors import ConfigurationError, GiveUp
from fifoq_fastapi import lifespan, router
from fifoq_fastapi.access import shown_id, stored_id


async def user(scopes: SecurityScopes, x_user: Annotated[str | None, Header()] = None) -> str:
    """Accept any name as the user; the user `reader` may only read."""
    if x_user is None:
        raise HTTPException(401, "who are you?", {"WWW-Authenticate": "X-User"})
    if x_user == "reader" and "fifoq:write" in scopes.scopes:
        raise HTTPException(403, "reading only")
    return x_user


def make_app(url: str = "memory://", **access: object) -> tuple[Fifoq, FastAPI]:
    tasks = Fifoq(url)

    @tasks.task
    async def greet(name: str = "world") -> str:
        return f"hello {name}"

    app = FastAPI(lifespan=lifespan(tasks, worker=True))
    app.include_router(router(tasks, expose="all", **access))
    return tasks, app


@pytest.mark.parametrize(
    ("access", "message"),
    [
        ({}, "public=True"),
        ({"auth": user, "public": True}, "either"),
        ({"public": True, "owner": str}, "no owners"),
    ],
)
def test_a_router_with_missing_or_contradictory_access_rules_is_refused(
    access: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_app(**access)


async def test_what_auth_raises_stays_as_it_is(serve) -> None:
    _, app = make_app(auth=user)
    async with serve(app) as client:
        for answer in (await client.post("/tasks/greet"), await client.get("/jobs/a")):
            assert (answer.status_code, answer.json()) == (401, {"detail": "who are you?"})
            assert answer.headers["www-authenticate"] == "X-User"


async def test_reading_and_writing_are_scopes_of_their_own(serve) -> None:
    _, app = make_app(auth=user)
    async with serve(app) as client:
        accepted = await client.post("/tasks/greet", headers={"x-user": "ada"})
        assert accepted.status_code == 202
        assert (await client.post("/tasks/greet", headers={"x-user": "reader"})).status_code == 403
        assert (await client.get(accepted.headers["location"], headers={"x-user": "reader"})).status_code == 200


async def test_health_and_readiness_are_open(serve) -> None:
    _, app = make_app(auth=user)
    async with serve(app) as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/ready")).status_code == 200


async def test_a_job_of_another_owner_does_not_exist(serve) -> None:
    _, app = make_app(auth=user, owner=str.lower)
    async with serve(app) as client:
        accepted = await client.post("/tasks/greet", headers={"x-user": "Ada"})
        where = accepted.headers["location"]
        assert (await client.get(where, headers={"x-user": "ada"})).json()["owner"] == "ada"
        theirs = await client.get(where, headers={"x-user": "bob"})
        missing = await client.get("/jobs/nothing", headers={"x-user": "bob"})
    assert theirs.status_code == missing.status_code == 404
    assert theirs.json()["detail"].replace(accepted.json()["id"], "nothing") == missing.json()["detail"]


async def test_a_job_of_another_owner_is_404_on_every_route_and_on_no_list(serve, url: str) -> None:
    tasks, app = make_app(url, auth=user, owner=str)

    @tasks.task(key="key", retry=1, after_failure="halt", queue="fragile")
    async def fail(key: str) -> None:
        raise GiveUp("no")

    ada, bob = {"x-user": "ada"}, {"x-user": "bob"}
    async with serve(app) as client:
        for caller in (ada, bob):
            await client.post("/tasks/greet?wait=5", headers={**caller, "Idempotency-Key": f"of {caller['x-user']}"})
        failed = await client.post(
            "/tasks/fail?wait=5", json={"key": "k"}, headers={**ada, "Idempotency-Key": "failed"}
        )
        assert failed.status_code == 502
        before = await client.get("/jobs/failed", headers=ada)
        for method, path in [
            ("GET", "/jobs/failed"),
            ("GET", "/jobs/failed?wait=5"),
            ("GET", "/jobs/failed/events"),
            ("DELETE", "/jobs/failed"),
            ("POST", "/jobs/failed/requeue"),
            ("POST", "/jobs/failed/skip"),
        ]:
            answer = await client.request(method, path, headers=bob)
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:fifoq:job-not-found"), path
        assert (await client.get("/jobs/failed", headers=ada)).json() == before.json()
        seen = {name: await pages(client, {"x-user": name}) for name in ("ada", "bob", "eve")}
        assert seen == {"ada": ["of ada", "failed"], "bob": ["of bob"], "eve": []}
        blocked = [(await client.get("/keys/blocked", headers=caller)).json()["keys"] for caller in (ada, bob)]
        assert [[key["job_id"] for key in keys] for keys in blocked] == [["failed"], []]
        events = await client.get("/jobs/of%20ada/events", headers=ada)
        assert '"id":"of ada"' in events.text
        for path in ("/queues", "/queues/default/pause"):
            assert (await client.request("GET" if path == "/queues" else "POST", path, headers=ada)).status_code == 404


async def pages(client: httpx.AsyncClient, headers: dict[str, str]) -> list[str]:
    """Return the ids on all pages. A page is of one queue, and short where jobs of other owners were left out."""
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get("/jobs", params={"limit": 1} | cursor, headers=headers)).json()
        seen += [job["id"] for job in page["jobs"]]
        if page["cursor"] is None:
            return seen
        cursor = {"cursor": page["cursor"]}


async def test_a_requeue_against_a_job_of_another_owner_does_not_name_it(serve, url: str) -> None:
    tasks, app = make_app(url, auth=user, owner=str)

    @tasks.task(retry=1)
    async def fail() -> None:
        raise GiveUp("no")

    async with serve(app) as client:
        mine = await fail.options(owner="ada", unique="u", id="mine").enqueue()
        await tasks.finished(mine.id, timeout=10)
        theirs = await fail.options(owner="bob", unique="u", id="theirs", delay=60).enqueue()
        answer = await client.post("/jobs/mine/requeue", headers={"x-user": "ada"})
    assert (answer.status_code, answer.json()["job_id"]) == (422, "mine")
    assert theirs.id not in answer.text


async def test_the_same_idempotency_key_of_another_owner_is_another_job(serve, url: str) -> None:
    _, app = make_app(url, auth=user, owner=str)
    async with serve(app) as client:
        for name in ("ada", "bob"):
            headers = {"x-user": name, "Idempotency-Key": "k"}
            first = await client.post("/tasks/greet?wait=5", json={"name": name}, headers=headers)
            assert (first.status_code, first.json()["id"], first.json()["result"]) == (200, "k", f"hello {name}")
            repeat = await client.post("/tasks/greet", json={"name": name}, headers=headers)
            assert (repeat.status_code, repeat.json()["id"]) == (200, "k")
            conflict = await client.post("/tasks/greet", json={"name": "eve"}, headers=headers)
            assert (conflict.status_code, conflict.json()["job_id"]) == (422, "k")
        for name in ("ada", "bob"):
            assert (await client.get("/jobs/k", headers={"x-user": name})).json()["result"] == f"hello {name}"


async def test_a_stored_id_of_one_owner_is_no_way_in_for_another(serve) -> None:
    _, app = make_app(auth=user, owner=str)
    async with serve(app) as client:
        await client.post("/tasks/greet", headers={"x-user": "ada", "Idempotency-Key": "k"})
        stored = stored_id("ada", "k")
        assert (await client.get(f"/jobs/{stored}", headers={"x-user": "bob"})).status_code == 404
        planted = await client.post("/tasks/greet", headers={"x-user": "bob", "Idempotency-Key": stored})
    assert planted.status_code == 202


async def test_a_job_that_the_app_enqueued_has_no_owner_and_is_hidden_from_every_owner(serve) -> None:
    tasks, app = make_app(auth=user, owner=str)
    async with serve(app) as client:
        job = await next(iter(tasks.tasks.values())).enqueue("world")
        assert (await client.get(f"/jobs/{job.id}", headers={"x-user": "ada"})).status_code == 404


async def test_an_owner_function_may_be_async(serve) -> None:
    async def tenant(name: str) -> str:
        return f"tenant of {name}"

    _, app = make_app(auth=user, owner=tenant)
    async with serve(app) as client:
        answer = await client.post("/tasks/greet", headers={"x-user": "ada"})
    assert answer.json()["owner"] == "tenant of ada"


@pytest.mark.parametrize("no_name", [None, 7, "", "\n"])
async def test_an_owner_function_that_returns_no_name_admits_no_caller(serve, no_name: object) -> None:
    _, app = make_app(auth=user, owner=lambda name: no_name)
    async with serve(app) as client:
        answer = await client.post("/tasks/greet", headers={"x-user": "ada"})
    assert answer.status_code == 500


async def test_auth_may_be_overridden_in_tests(serve) -> None:
    _, app = make_app(auth=user, owner=str)
    app.dependency_overrides[user] = lambda: "tester"
    async with serve(app) as client:
        assert (await client.post("/tasks/greet")).json()["owner"] == "tester"


@pytest.mark.parametrize("owner", [None, "ada", "a.b", "x" * 128])
def test_a_shown_id_is_the_inverse_of_a_stored_one(owner: str | None) -> None:
    assert shown_id(owner, stored_id(owner, "k")) == "k"
    assert len(stored_id(owner, "k" * 105)) <= 128
