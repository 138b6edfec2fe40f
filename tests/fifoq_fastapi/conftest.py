"""Apps are served by a real uvicorn over HTTP on a free loopback port; tests of the store run on each backend."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

Serve = Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of each backend in turn."""
    match request.param:
        case "memory":
            return "memory://"
        case "sqlite":
            return f"sqlite:///{tmp_path}/jobs.db?synchronous=normal"
        case _:
            return request.getfixturevalue("any_redis_server").url


@pytest.fixture
def serve() -> Serve:
    """Serve an app inside a `with` block, and yield its client."""

    @asynccontextmanager
    async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
        # The protocol is named because asyncio disables Nagle's algorithm only for sockets that are marked as TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        running = asyncio.create_task(server.serve(sockets=[listener]))
        port = listener.getsockname()[1]
        while not server.started and not running.done():  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.001)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                client.server = server  # for tests that end it themselves
                yield client
        finally:
            server.should_exit = True
            await running

    return serving
