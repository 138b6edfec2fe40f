"""A queue on a real server, with numbered calls, and somebody who waits there, one step at a time."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fifoq.clock import SECOND
from fifoq.queue import Call, Queue
from fifoq.record import Claimed, JobSpec
from fifoq.testing import AsyncDriver
from fifoq_redis import RedisBackend
from tests.servers import Server

LONG = 30.0
"""Seconds: a test that waits in vain fails instead of hanging."""


Line = AsyncDriver


class Waiter:
    """One who waits, on a connection of his own, and has left a claim at the server."""

    def __init__(self, url: str, **more: Any) -> None:
        self.backend = RedisBackend(url, **more)
        self.line: Line
        self._claims = itertools.count(1)
        self._call = Call("nobody", 0)
        self._wait: asyncio.Task[bool] | None = None

    @property
    def queue(self) -> Queue:
        return self.line.queue

    async def open(self) -> None:
        await self.backend.open()
        self.line = AsyncDriver(self.backend.queue("queue"), retain=0)
        queue: Any = self.queue
        assert await self.backend._open_store().subscribe(queue._keys.state, LONG)

    async def leave_claim(self, n: int = 2, lease: float = 15.0, tasks: Any = ("task",)) -> Claimed:
        """Wait, and claim: what there is now, and what comes."""
        self.wait()
        await asyncio.sleep(0)
        return await self.claim(n, lease, tasks, ahead=n)

    def wait(self) -> None:
        self._wait = asyncio.create_task(self.queue.wait(LONG))

    async def claim(self, n: int = 2, lease: float = 15.0, tasks: Any = ("task",), ahead: int = 0) -> Claimed:
        self._call = Call(f"{id(self)}", next(self._claims))
        return await self.queue.claim(self._call, "worker", n, round(lease * SECOND), tasks, ahead)

    async def repeat(self) -> Claimed:
        return await self.queue.claim(self._call, "worker", 2, 15 * SECOND, ("task",))

    async def told(self) -> None:
        assert self._wait
        assert await asyncio.wait_for(self._wait, LONG)

    def calls(self) -> int:
        """How often something was sent to the server."""
        opened: Any = self.backend._store
        return sum(node.connection.sends for node in opened.topology.nodes())

    def deafen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lose all that it is told from now on, though it listens."""
        opened: Any = self.backend._store
        for subscription in opened._subscriptions.values():
            monkeypatch.setattr(subscription, "_received", lambda message: None)

    async def close(self) -> None:
        if self._wait:
            self._wait.cancel()
        await self.backend.close()


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
    return AsyncDriver(backend.queue("queue"), retain=0)


@pytest.fixture
async def waiter(any_redis_server: Server, line: Line) -> AsyncIterator[Waiter]:
    await line.queue.configure([])
    waiter = Waiter(any_redis_server.url)
    await waiter.open()
    yield waiter
    await waiter.close()
