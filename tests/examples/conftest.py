"""
Examples are run as their docstrings say: by a uvicorn process of their own, asked over real HTTP, on each store.

Only FIFOQ_URL tells them which one it is. What several processes share is a store beyond memory.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
URLS: dict[str, Callable[[Path], str]] = {
    "memory": lambda _: "memory://",
    "sqlite": lambda directory: f"sqlite:///{directory}/jobs.db",
}
"""The stores that need nothing to be started."""


class Program:
    """A process of an example, and what it says on standard error."""

    def __init__(self, arguments: list[str], said: Path, environment: dict[str, str]) -> None:
        self._said = said
        self.killed = False
        with said.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=ROOT, env=os.environ | environment, stderr=stream
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def says(self, pattern: str) -> str:
        """Wait until it says something, and return the first group of it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(pattern, self.said):
                return found[1]
            time.sleep(0.02)
        raise AssertionError(f"it did not say {pattern!r}: {self.said}")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def ended_well(self) -> None:
        """Wait for its end, which must be an orderly one."""
        status = self.process.wait(PATIENCE)
        assert status in (0, -signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGINT), self.said
        assert "Traceback" not in self.said, self.said

    def kill(self) -> None:
        self.killed = True
        self.process.kill()
        self.process.wait()


class Example(Program):
    """A running server, and its client."""

    client: httpx.AsyncClient


Run = Callable[..., AbstractAsyncContextManager[Example]]


@pytest.fixture(params=[*URLS, "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The store of the example."""
    if request.param == "redis":
        return request.getfixturevalue("any_redis_server").url
    return URLS[request.param](tmp_path)


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    """Run `uvicorn examples.<name>:app` until the end of the block, which must find it ending well, or killed."""

    @asynccontextmanager
    async def running(name: str, **environment: str) -> AsyncIterator[Example]:
        arguments = ["uvicorn", f"examples.{name}:app", "--port", "0"]
        example = Example(arguments, tmp_path / "server.txt", {"FIFOQ_URL": url, **environment})
        limits = httpx.Limits(max_connections=None)
        try:
            address = await asyncio.to_thread(example.says, r"running on (http://\S+)")
            async with httpx.AsyncClient(base_url=address, timeout=PATIENCE, limits=limits) as example.client:
                yield example
            if not example.killed:
                example.process.terminate()
                await asyncio.to_thread(example.ended_well)
        finally:
            example.kill()

    return running


@pytest.fixture
def serve(url: str, tmp_path: Path) -> Iterator[Callable[[], Program]]:
    """Start one more service of the peak shaver. Its leases are short, so that a death is soon seen."""
    started: list[Program] = []

    def start() -> Program:
        said = tmp_path / f"service-{len(started)}.txt"
        service = Program(["examples.peak_shaver.service"], said, {"FIFOQ_URL": url, "FIFOQ_LEASE": "1"})
        started.append(service)
        service.says(r"(is_prime), queue default")
        return service

    yield start
    for service in started:
        service.kill()
