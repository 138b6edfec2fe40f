"""A store in a file of its own, and other processes on it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from fifoq.queue import Call, PutReply, Queue
from fifoq.record import Claimed, JobSpec, Lease, Settlement, State, Succeed
from fifoq_sqlite import SqliteBackend

LONG = 30.0
"""Seconds: a test that waits in vain fails instead of hanging."""
PROGRAMS = Path(__file__).parent / "programs"

Start = Callable[..., "subprocess.Popen[str]"]


class Line:
    """A queue with numbered calls."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._caller, self._number = uuid4().hex, 0

    def call(self) -> Call:
        self._number += 1
        return Call(self._caller, self._number)

    async def put(self, *specs: JobSpec) -> tuple[PutReply, ...]:
        return await self.queue.put(self.call(), [specs])

    async def claim(self, n: int = 1, lease: float = 15.0) -> tuple[Lease, ...]:
        return (await self.look(n, lease)).leases

    async def look(self, n: int = 1, lease: float = 15.0) -> Claimed:
        return await self.queue.claim(self.call(), "worker", n, round(lease * 1e6), ["task"])

    async def succeed(self, *leases: Lease, retain: int = 0) -> tuple[State | None, ...]:
        settlements = [Settlement(lease.spec.id, lease.token, Succeed(b"", retain)) for lease in leases]
        return await self.queue.settle(self.call(), settlements)


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
def line_of() -> Callable[[SqliteBackend], Line]:
    """A function that gives a caller's view of the queue of any backend."""
    return lambda backend: Line(backend.queue("queue"))


@pytest.fixture
def line(backend: SqliteBackend) -> Line:
    return Line(backend.queue("queue"))


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program of `programs/` with arguments; those still running at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, str(PROGRAMS / program), *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(LONG)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
