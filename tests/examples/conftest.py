"""Examples are run as their docstrings say: by a uvicorn process of their own, asked over real HTTP."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


class Example:
    """A running example: its client, and its process."""

    def __init__(self, client: httpx.AsyncClient, process: subprocess.Popen[bytes]) -> None:
        self.client = client
        self.process = process

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)


Run = Callable[[str], AbstractAsyncContextManager[Example]]


@pytest.fixture(params=["memory://"])
def url(request: pytest.FixtureRequest) -> str:
    """The store of the example: a store is added by its URL."""
    return request.param


@pytest.fixture
def run(url: str) -> Run:
    """Run `uvicorn examples.<name>:app` until the end of the block, which must find it ending well."""

    @asynccontextmanager
    async def running(name: str) -> AsyncIterator[Example]:
        with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
            port = listener.getsockname()[1]
            # The process inherits the listening socket: requests queue there until it is up, and no port is raced for.
            process = subprocess.Popen(  # noqa: ASYNC220 (takes a millisecond)
                [sys.executable, "-m", "uvicorn", f"examples.{name}:app", "--fd", str(listener.fileno())],
                cwd=ROOT,
                env=os.environ | {"FIFOQ_URL": url},
                pass_fds=[listener.fileno()],
            )
        limits = httpx.Limits(max_connections=None)
        try:
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, limits=limits
            ) as client:
                yield Example(client, process)
            process.terminate()
            assert process.wait(PATIENCE) in (0, -signal.SIGTERM, -signal.SIGINT, 130)
        finally:
            process.kill()
            process.wait()

    return running
