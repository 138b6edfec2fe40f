"""
The examples run as their docstrings describe: each in its own uvicorn process, over real HTTP, on each backend.

Only FIFOQ_URL chooses the backend. Examples of several processes need one that processes share: not memory.
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
TIMEOUT = 30.0
URLS: dict[str, Callable[[Path], str]] = {
    "memory": lambda _: "memory://",
    "sqlite": lambda directory: f"sqlite:///{directory}/jobs.db",
}
"""The backends that need no server."""


class Program:
    """A process of an example, and its log from standard error."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str]) -> None:
        self._log = log
        self.killed = False
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=ROOT, env=os.environ | environment, stderr=stream
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for_log(self, pattern: str) -> str:
        """Wait until the log matches `pattern`, and return the first group."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(pattern, self.log):
                return found[1]
            time.sleep(0.02)
        raise AssertionError(f"the log has no {pattern!r}: {self.log}")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def ended_well(self) -> None:
        """Wait for the end of the process, and check that it was orderly."""
        status = self.process.wait(TIMEOUT)
        assert status in (0, -signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGINT), self.log
        assert "Traceback" not in self.log, self.log

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
    """The URL of the example's backend."""
    if request.param == "redis":
        return request.getfixturevalue("any_redis_server").url
    return URLS[request.param](tmp_path)


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    """Run `uvicorn examples.<name>:app` inside a `with` block, which checks that the server ends well unless killed."""

    @asynccontextmanager
    async def running(name: str, **environment: str) -> AsyncIterator[Example]:
        arguments = ["uvicorn", f"examples.{name}:app", "--port", "0"]
        example = Example(arguments, tmp_path / "server.txt", {"FIFOQ_URL": url, **environment})
        limits = httpx.Limits(max_connections=None)
        try:
            address = await asyncio.to_thread(example.wait_for_log, r"running on (http://\S+)")
            async with httpx.AsyncClient(base_url=address, timeout=TIMEOUT, limits=limits) as example.client:
                yield example
            if not example.killed:
                example.process.terminate()
                await asyncio.to_thread(example.ended_well)
        finally:
            example.kill()

    return running


@pytest.fixture
def serve(url: str, tmp_path: Path) -> Iterator[Callable[[], Program]]:
    """Start another service of the peak shaver. Its leases are short, so that its jobs are soon free after a kill."""
    started: list[Program] = []

    def start() -> Program:
        log = tmp_path / f"service-{len(started)}.txt"
        service = Program(["examples.peak_shaver.service"], log, {"FIFOQ_URL": url, "FIFOQ_LEASE": "1"})
        started.append(service)
        service.wait_for_log(r"(is_prime), queue default")
        return service

    yield start
    for service in started:
        service.kill()
