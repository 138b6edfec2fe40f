"""
The apps that benchmarks/fastapi.py loads, with one route, `POST /scores/{match}?goals=3`. BENCH_APP chooses one.

`bare` answers at once; the others enqueue a job first, or do a part of that. Each app imports only its own libraries,
so that arq may run under an interpreter of its own.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

APP = os.environ["BENCH_APP"]
URL = os.environ.get("BENCH_URL", "memory://")


def bare() -> FastAPI:
    app = FastAPI()

    @app.post("/scores/{match}", status_code=202)
    async def push(match: str, goals: int) -> dict[str, str]:
        return {"job": match}

    return app


def queue() -> FastAPI:
    """The least work: an asyncio.Queue, and an id for the answer."""
    from uuid_utils import uuid7

    app = FastAPI()
    jobs: asyncio.Queue[tuple[str, str, int]] = asyncio.Queue()

    @app.post("/scores/{match}", status_code=202)
    async def push(match: str, goals: int) -> dict[str, str]:
        id = str(uuid7())
        await jobs.put((id, match, goals))
        return {"job": id}

    @app.post("/drain")
    async def drain() -> None:
        while not jobs.empty():
            jobs.get_nowait()

    return app


def with_task(worker: bool) -> tuple[FastAPI, Any, Any]:
    """An app, its Fifoq, and the task that all apps with fifoq have."""
    from fifoq import Fifoq
    from fifoq_fastapi import lifespan

    tasks = Fifoq(URL)

    @tasks.task(key="match", retain=0)
    async def save_score(match: str, goals: int) -> None: ...

    return FastAPI(lifespan=lifespan(tasks, worker=worker)), tasks, save_score


def bound() -> FastAPI:
    """A call that is checked, packed and given an id, but not enqueued."""
    app, _, save_score = with_task(worker=False)

    @app.post("/scores/{match}", status_code=202)
    async def push(match: str, goals: int) -> dict[str, str]:
        return {"job": save_score.bind(match, goals).id}

    return app


def fifoq(worker: bool) -> FastAPI:
    app, tasks, save_score = with_task(worker)

    @app.post("/scores/{match}", status_code=202)
    async def push(match: str, goals: int) -> dict[str, str]:
        return {"job": (await save_score.enqueue(match, goals)).id}

    @app.post("/drain")
    async def drain() -> None:
        await tasks.worker().drain()

    return app


def arq() -> FastAPI:
    from arq.connections import RedisSettings, create_pool

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
        app.state.pool = await create_pool(RedisSettings.from_dsn(URL))
        yield {}
        await app.state.pool.aclose()

    app = FastAPI(lifespan=lifespan)

    @app.post("/scores/{match}", status_code=202)
    async def push(match: str, goals: int) -> dict[str, str]:
        return {"job": (await app.state.pool.enqueue_job("save_score", match, goals)).job_id}

    return app


APPS = {
    "bare": bare,
    "queue": queue,
    "bound": bound,
    "fifoq": lambda: fifoq(False),
    "fifoq with a worker": lambda: fifoq(True),
    "arq": arq,
}
app = APPS[APP]()
