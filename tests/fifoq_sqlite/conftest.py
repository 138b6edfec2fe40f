"""A store in a file of its own, and other processes on it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from fifoq.testing import AsyncDriver
from fifoq_sqlite import SqliteBackend

LONG = 30.0
"""Seconds: a test that waits in vain fails instead of hanging."""
ROOT = Path(__file__).parents[2]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}?synchronous=normal"


@pytest.fixture
async def backend(url: str) -> AsyncIterator[SqliteBackend]:
    backend = SqliteBackend(url)
    await backend.open()
    yield backend
    await asyncio.wait_for(backend.close(), LONG)


@pytest.fixture
def driver_of() -> Callable[[SqliteBackend], AsyncDriver]:
    """A function that returns a driver of the queue of any backend."""
    return lambda backend: AsyncDriver(backend.queue("queue"), retain=0)


@pytest.fixture
def driver(backend: SqliteBackend) -> AsyncDriver:
    return AsyncDriver(backend.queue("queue"), retain=0)


@pytest.fixture
def start() -> Iterator[Start]:
    """A function that starts a program of `programs/` with arguments. Programs that still run at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", f"tests.fifoq_sqlite.programs.{program}", *map(str, arguments)]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(LONG)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
