"""Examples are run as their docstrings say: by a uvicorn process of their own, asked over real HTTP."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
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
def run(url: str, tmp_path: Path) -> Run:
    """Run `uvicorn examples.<name>:app` until the end of the block, which must find it ending well."""

    @asynccontextmanager
    async def running(name: str) -> AsyncIterator[Example]:
        said = tmp_path / "said.txt"
        with said.open("w") as stream:
            process = subprocess.Popen(  # noqa: ASYNC220 (takes a millisecond)
                [sys.executable, "-m", "uvicorn", f"examples.{name}:app", "--port", "0"],
                cwd=ROOT,
                env=os.environ | {"FIFOQ_URL": url},
                stderr=stream,
            )
        limits = httpx.Limits(max_connections=None)
        try:
            address = await asyncio.to_thread(address_in, said, process)
            async with httpx.AsyncClient(base_url=address, timeout=PATIENCE, limits=limits) as client:
                yield Example(client, process)
            process.terminate()
            assert process.wait(PATIENCE) in (0, -signal.SIGTERM, -signal.SIGINT), said.read_text()
        finally:
            process.kill()
            process.wait()

    return running


def address_in(said: Path, process: subprocess.Popen[bytes]) -> str:
    """Wait until uvicorn says where it listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"running on (http://\S+)", said.read_text())
        if found:
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"uvicorn did not start: {said.read_text()}")
