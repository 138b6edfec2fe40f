"""The lifespan opens the Fifoq and composes with the app's own lifespan; its worker claims until the lifespan ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Request

from fifoq import Fifoq
from fifoq.errors import ConfigurationError, FifoqError
from fifoq_fastapi import install_errors, lifespan, router


async def test_it_composes_with_the_apps_own_lifespan_and_its_state(serve) -> None:
    tasks, happened = Fifoq("memory://"), list[str]()

    @tasks.task
    async def note(text: str) -> None:
        happened.append(text)

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        happened.append(f"own begins, fifoq is {'open' if tasks.is_open else 'closed'}")
        await note.enqueue("a job of the start")
        yield {"pool": "a pool"}
        await note.enqueue("never run: the worker has ended")
        happened.append(f"own ends, fifoq is {'open' if tasks.is_open else 'closed'}")

    app = FastAPI(lifespan=lifespan(tasks, worker=True, then=own))

    @app.get("/")
    async def root(request: Request) -> str:
        return request.state.pool

    async with serve(app) as client:
        assert (await client.get("/")).json() == "a pool"
        job = await note.enqueue("a job")
        await job.result(5)
    assert happened == ["own begins, fifoq is open", "a job of the start", "a job", "own ends, fifoq is open"]


async def test_a_task_of_a_then_or_of_a_route_runs_in_its_new_queue(serve) -> None:
    tasks = Fifoq("memory://")

    def register(name: str) -> None:
        @tasks.task(name=name, queue=f"queue of {name}")
        async def late() -> str:
            return f"{name} ran"

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        register("then")
        yield

    app = FastAPI(lifespan=lifespan(tasks, worker=True, then=own))
    app.include_router(router(tasks, expose="all", public=True), prefix="/queue")

    @app.post("/register")
    async def of_a_route() -> None:
        register("route")

    async with serve(app) as client:
        await client.post("/register")
        for name in ("then", "route"):
            job = await client.post(f"/queue/tasks/{name}?wait=20")
            assert (job.status_code, job.json()["result"]) == (200, f"{name} ran")
    assert not tasks.is_open


async def test_without_a_worker_jobs_wait(serve) -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def run() -> None: ...

    app = FastAPI(lifespan=lifespan(tasks))
    app.include_router(router(tasks, expose="all", public=True))
    async with serve(app) as client:
        answer = await client.post("/tasks/run", params={"wait": 0.1})
        assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
        assert (await client.get("/ready")).status_code == 200


async def test_a_route_that_awaits_a_result_gets_it_although_the_server_is_stopping(serve) -> None:
    tasks, begun, go_on = Fifoq("memory://"), asyncio.Event(), asyncio.Event()

    @tasks.task
    async def first() -> str:
        begun.set()
        await go_on.wait()
        return await second.call()

    @tasks.task
    async def second() -> str:
        return "claimed after the signal"

    app = FastAPI(lifespan=lifespan(tasks, worker=True))

    @app.get("/")
    async def root() -> str:
        return await first.call()

    async with serve(app) as client:
        waiting = asyncio.create_task(client.get("/"))
        await begun.wait()
        client.server.should_exit = True
        asyncio.get_running_loop().call_later(0.3, go_on.set)
        assert (await waiting).json() == "claimed after the signal"


async def test_a_worker_that_does_not_claim_is_not_ready(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = Fifoq("memory://")
    app = FastAPI(lifespan=lifespan(tasks, worker=True))
    app.include_router(router(tasks, expose="all", public=True))
    async with serve(app) as client:
        assert (await client.get("/ready")).json() == {"status": "ready"}
        monkeypatch.setattr("fifoq.worker.worker.Worker.ready", False)
        answer = await client.get("/ready")
        alive = await client.get("/health")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert alive.json() == {"status": "alive"}


async def test_an_app_without_the_lifespan_is_not_ready_and_logs_the_remedy(
    serve, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def run() -> None: ...

    app = FastAPI()
    install_errors(app)
    app.include_router(router(tasks, expose="all", public=True))
    async with serve(app) as client:
        assert (await client.get("/ready")).status_code == 503
        assert (await client.post("/tasks/run")).status_code == 500
    assert "lifespan=lifespan(tasks)" in caplog.text


async def test_an_app_whose_store_cannot_be_opened_does_not_start() -> None:
    app = FastAPI(lifespan=lifespan(Fifoq("nowhere://")))
    with pytest.raises(FifoqError, match="nowhere"):
        async with app.router.lifespan_context(app):
            ...


async def test_types_that_cannot_be_resolved_stop_the_start() -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def run(x: "Missing") -> None: ...  # noqa: F821

    app = FastAPI(lifespan=lifespan(tasks))
    app.include_router(router(tasks, expose=[run], public=True))
    with pytest.raises(ConfigurationError, match="Missing"):
        async with app.router.lifespan_context(app):
            ...


async def test_the_location_includes_the_path_of_a_mounted_app(serve) -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def run() -> None: ...

    inner = FastAPI()
    inner.include_router(router(tasks, expose="all", public=True), prefix="/queue")
    app = FastAPI(lifespan=lifespan(tasks, worker=True))
    app.mount("/api", inner)
    async with serve(app) as client:
        answer = await client.post("/api/queue/tasks/run", headers={"Idempotency-Key": "k"})
        assert answer.headers["location"] == "/api/queue/jobs/k"
        assert (await client.get("/api/queue/jobs/k")).status_code == 200
        assert (await client.get("/api/queue/ready")).status_code == 200


@pytest.mark.parametrize("event", ["startup", "shutdown"])
async def test_handlers_that_fastapi_does_not_run_are_warned_of(serve, event: str) -> None:
    app = FastAPI(lifespan=lifespan(Fifoq("memory://")))
    with pytest.warns(DeprecationWarning, match="on_event"):

        @app.on_event(event)  # pyright: ignore
        async def connect() -> None: ...

    with pytest.warns(UserWarning, match="does not run the handlers.*connect.*then=yours"):
        async with serve(app):
            ...
