"""A queue on a real server, with numbered calls, and a look at what the server was asked."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from fifoq.clock import SECOND
from fifoq.lease import Lease, Settlement, Succeed
from fifoq.queue import Call, PutReply, Queue
from fifoq.record import JobSpec
from fifoq.state import State
from fifoq_redis import RedisBackend
from tests.servers import Server

LONG = 30.0
"""Seconds: a test that waits in vain fails instead of hanging."""


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

    async def claim(self, n: int = 1, tasks: Any = ("task",), lease: float = 15.0) -> tuple[Lease, ...]:
        return (await self.queue.claim(self.call(), "worker", n, round(lease * SECOND), tasks)).leases

    async def succeed(self, *leases: Lease, retain: int = 0) -> tuple[State | None, ...]:
        done = [Settlement(lease.spec.id, lease.token, Succeed(b"result", retain)) for lease in leases]
        return await self.queue.settle(self.call(), done)


def job(id: str, key: str | None = None, **rest: Any) -> JobSpec:
    return JobSpec(id, rest.pop("task", "task"), rest.pop("payload", b"payload"), key, **rest)


@pytest.fixture
async def backend(any_redis_server: Server) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(any_redis_server.url)
    await backend.open()
    yield backend
    await backend.close()


@pytest.fixture
def line(backend: RedisBackend) -> Line:
    return Line(backend.queue("queue"))
