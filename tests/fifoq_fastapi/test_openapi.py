"""
The OpenAPI document is true: it names every response that the server sends to requests made from it.

schemathesis makes valid and invalid requests from the document, and chains of them, and sends them to the server.
"""

import asyncio
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from pydantic import BaseModel, Field, create_model

from fifoq import Fifoq, Retry
from fifoq.errors import GiveUp
from fifoq_fastapi import lifespan, router

TASKS = ("ship", "nothing", "odd", "fails")
bearer = OAuth2PasswordBearer("/token", scopes={"fifoq:read": "look", "fifoq:write": "change"})


async def user(scopes: SecurityScopes, token: Annotated[str, Depends(bearer)]) -> str:
    if token not in ("ada", "bob"):
        raise HTTPException(401, "who are you?", {"WWW-Authenticate": "Bearer"})
    if token == "bob" and "fifoq:write" in scopes.scopes:
        raise HTTPException(403, "reading only")
    return token


class Order(BaseModel):
    id: UUID
    size: Literal["s", "m", "l"] = "m"
    lines: list[Annotated[str, Field(max_length=20)]] = []


def make_app(url: str) -> tuple[Fifoq, FastAPI]:
    """An app with tasks of every sort, one router for operators and one for owners."""
    tasks = Fifoq(url, grace=0.1)

    @tasks.task(key="line")
    async def ship(line: str, order: Order, note: str | None = None) -> str:
        return line

    @tasks.task
    async def nothing() -> None:
        """Takes nothing, and returns it."""

    @tasks.task
    async def odd(copy: int, model_dump: str = "x", _under: bool = False, *rest: int, **extra: float) -> None: ...

    @tasks.task(queue="fragile", retry=Retry(attempts=1), key="key", after_failure="halt")
    async def fails(key: str = "a") -> None:
        raise GiveUp("no")

    app = FastAPI(lifespan=lifespan(tasks, worker=True))
    app.include_router(router(tasks, expose="all", auth=user), prefix="/q")
    app.include_router(router(tasks, expose="all", auth=user, owner=str, name="mine"), prefix="/mine")
    return tasks, app


EXPECTED = """
[checks]
not_a_server_error.expected-statuses = ["1xx", "2xx", "3xx", "4xx", 502, 503]
"""
"""The document has 502 (the awaited job failed) and 503 (the queue is full); other errors would not conform to it."""
EXCLUDED = [
    "positive_data_acceptance",  # an id that is taken, an empty text as a key: the document cannot describe them
    "use_after_free",  # a job that was cancelled by DELETE is kept and shown for a while
]


async def test_no_request_made_from_the_document_gets_a_response_that_it_does_not_name(
    serve, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fifoq_fastapi.routes.LONGEST_WAIT", 0.05)
    monkeypatch.setattr("fifoq_fastapi.events.FollowedJob.changed_from", gone)
    tasks, app = make_app(url)
    (tmp_path / "schemathesis.toml").write_text(EXPECTED)
    async with serve(app) as client:
        # The document is the same on every backend, so only one backend gets all requests.
        part = [] if url == "memory://" else ["--phases", "coverage", "--include-path-regex", "^/q/"]
        options = ["--max-examples", "3", "--seed", "1", "--no-color", "--exclude-checks", ",".join(EXCLUDED)]
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            "run",
            f"{client.base_url}/openapi.json",
            *options,
            *part,
            "-H",
            "Authorization: Bearer ada",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        stats = await tasks.stats()
    assert process.returncode == 0, output.decode()
    kept = [sum(counts[:6]) for counts in stats.values()]
    assert sum(kept) > 2, "every request was refused"


async def gone(followed: object, seen: object) -> None:
    """End every stream at once: jobs that never end have streams that never end."""


def operations(app: FastAPI) -> dict[tuple[str, str], dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return {(method.upper(), path): each for path, methods in paths.items() for method, each in methods.items()}


async def test_callers_without_authentication_or_scope_write_nothing(serve, url: str) -> None:
    tasks, app = make_app(url)
    async with serve(app) as client:
        job = await tasks.tasks["nothing"].options(id="j", delay=60).enqueue()
        for method, path in operations(app):
            if path.endswith(("health", "ready")):
                continue
            filled = path.replace("{id}", job.id).replace("{name}", "default")
            body = {"json": {}} if "/tasks/" in path else {}
            assert (await client.request(method, filled, **body)).status_code == 401, (method, path)
            if method != "GET":
                reader = await client.request(method, filled, headers={"Authorization": "Bearer bob"}, **body)
                assert reader.status_code == 403, (method, path)
        assert (await client.post("/q/tasks/unknown")).status_code == 401, "the names of the tasks are not revealed"
        assert await job.status() == await tasks.get("j")
        assert [job.id async for job in tasks.jobs()] == ["j"]


def test_every_route_has_a_name_a_summary_and_the_scope_that_it_requires() -> None:
    _, app = make_app("memory://")
    found = operations(app)
    ids = [each["operationId"] for each in found.values()]
    assert [id for id, count in Counter(ids).items() if count > 1] == []
    assert {id.removeprefix("fifoq_") for id in ids if id.startswith("fifoq_")} == {
        *("enqueue_ship", "enqueue_nothing", "enqueue_odd", "enqueue_fails"),
        *("list_jobs", "get_job", "follow_job", "cancel_job", "requeue_job", "skip_job"),
        *("list_queues", "pause_queue", "resume_queue", "list_blocked_keys", "health", "ready"),
    }
    for (method, path), each in found.items():
        assert each["summary"], path
        if path.endswith(("health", "ready")):
            assert "security" not in each
            continue
        assert each["security"] == [{"OAuth2PasswordBearer": [f"fifoq:{'read' if method == 'GET' else 'write'}"]}]
        assert {"401", "403", "503"} <= set(each["responses"])
        for status, answer in each["responses"].items():
            for media, content in answer.get("content", {}).items():
                assert (media == "application/problem+json") == (status >= "404"), (path, status)
                if media == "application/problem+json":
                    assert content["example"]["status"] == int(status)
    assert app.url_path_for("fifoq:get_job", id="a") == "/q/jobs/a"
    assert app.url_path_for("mine:get_job", id="a") == "/mine/jobs/a"
    assert ("GET", "/mine/queues") not in found, "queues belong to no owner"


def test_parameters_that_pydantic_reserves_and_tasks_without_any_are_documented_as_they_are() -> None:
    _, app = make_app("memory://")
    schemas = app.openapi()["components"]["schemas"]
    assert set(schemas["odd_arguments"]["properties"]) == {"copy", "model_dump", "_under", "rest", "extra"}
    assert schemas["odd_arguments"]["required"] == ["copy"]
    assert schemas["nothing_arguments"].get("properties", {}) == {}
    body = operations(app)["POST", "/q/tasks/nothing"]["requestBody"]
    assert not body.get("required", False)


async def test_arguments_of_any_name_reach_the_task(serve, url: str) -> None:
    tasks = Fifoq(url)
    names = ["copy", "json", "schema", "model_dump", "model_config", "model_fields", "_x", "__y", "self_", "request"]
    parameters = ", ".join(f"{name}: int" for name in names)
    space: dict[str, Any] = {}
    exec(f"async def odd({parameters}) -> list[int]: return [{', '.join(names)}]", space)
    tasks.task(space["odd"])
    app = FastAPI(lifespan=lifespan(tasks, worker=True))
    app.include_router(router(tasks, expose="all", public=True))
    async with serve(app) as client:
        body = {name: number for number, name in enumerate(names)}
        answer: httpx.Response = await client.post("/tasks/odd?wait=5", json=body)
        wrong = await client.post("/tasks/odd", json=body | {"_x": "text"})
    assert answer.json()["result"] == list(range(len(names)))
    assert (wrong.status_code, wrong.json()["parameter"]) == (422, "_x")


def test_including_the_router_changes_nothing_that_the_document_of_the_app_has() -> None:
    """An app may have models of any name: generated clients import them by it."""
    _, with_router = make_app("memory://")
    names = [name.removeprefix("Fifoq") for name in with_router.openapi()["components"]["schemas"] if "_" not in name]
    names = [name for name in names if name != "Order"]
    assert len(names) > 10

    def document(app: FastAPI) -> dict[str, Any]:
        for name in names:
            model = create_model(name, text=(str, ...))
            app.add_api_route(f"/own/{name}", lambda: None, response_model=model, methods=["GET"])
        return app.openapi()

    alone, beside = document(FastAPI()), document(make_app("memory://")[1])
    for part in ("paths", "components"):
        before = alone[part] if part == "paths" else alone[part]["schemas"]
        after = beside[part] if part == "paths" else beside[part]["schemas"]
        assert {name: after.get(name) for name in before} == before
    added = beside["components"]["schemas"].keys() - alone["components"]["schemas"].keys() - {"Order"}
    assert {name for name in added if not name.startswith("Fifoq")} == {f"{task}_arguments" for task in TASKS}


def test_a_problem_is_one_component_of_every_operation_and_every_reference_is_there() -> None:
    _, app = make_app("memory://")
    document = app.openapi()
    for place, operation in operations(app).items():
        for status, answer in operation["responses"].items():
            for media, content in answer.get("content", {}).items():
                is_problem = content.get("schema") == {"$ref": "#/components/schemas/FifoqProblem"}
                assert is_problem == (media == "application/problem+json"), (place, status)
    schemas = document["components"]["schemas"]
    errors = schemas["FifoqProblem"]["properties"]["errors"]["anyOf"][0]
    assert errors == {"type": "array", "items": {"$ref": "#/components/schemas/FifoqProblemError"}}
    text = json.dumps(document)
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) == set(schemas)
    assert "#/$defs" not in text
