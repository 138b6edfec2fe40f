"""Apps are served by a real uvicorn on a free loopback port, and asked over real HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

Serve = Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def serve() -> Serve:
    """Run an app until the end of the block, which gets a client of it."""

    @asynccontextmanager
    async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        running = asyncio.create_task(server.serve(sockets=[listener]))
        port = listener.getsockname()[1]
        while not server.started and not running.done():
            await asyncio.sleep(0.001)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            await running

    return serving
