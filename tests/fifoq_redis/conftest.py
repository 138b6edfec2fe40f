"""A driver of a queue on a real server, and a second backend that waits there, one step at a time."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fifoq.clock import SECOND
from fifoq.limits import GateSettings, Limit
from fifoq.queue import Call, Declare, Pause, Queue, Resume
from fifoq.record import (
    Claimed,
    Extension,
    Fail,
    Filter,
    JobSpec,
    Release,
    Retry,
    Settlement,
    Succeed,
)
from fifoq.testing import AsyncDriver
from fifoq_redis import RedisBackend
from tests.servers import Server

LONG = 30.0
"""Seconds: a test that waits in vain fails instead of hanging."""


class Waiter:
    """A backend with its own connection that waits for jobs and leaves claims with the server."""

    def __init__(self, url: str, **more: Any) -> None:
        self.backend = RedisBackend(url, **more)
        self.driver: AsyncDriver
        self._claims = itertools.count(1)
        self._call = Call("unused", 0)
        self._wait: asyncio.Task[bool] | None = None

    @property
    def queue(self) -> Queue:
        return self.driver.queue

    async def open(self) -> None:
        await self.backend.open()
        self.driver = AsyncDriver(self.backend.queue("queue"), retain=0)
        queue: Any = self.queue
        assert await self.backend._open_store().subscribe(queue._keys.state, LONG)

    async def leave_claim(self, n: int = 2, lease: float = 15.0, tasks: Any = ("task",)) -> Claimed:
        """Wait, claim the jobs there are, and leave the next claim with the server."""
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

    async def notified(self) -> None:
        """Return once the wait has ended."""
        assert self._wait
        assert await asyncio.wait_for(self._wait, LONG)

    def sends(self) -> int:
        """Return the number of writes to the server."""
        return sum(node.connection.sends for node in self.backend._open_store().topology.nodes())

    def lose_notifications(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lose all notifications from now on, though the subscription stays."""
        for subscription in self.backend._open_store()._subscriptions.values():
            monkeypatch.setattr(subscription, "_received", lambda message: None)

    async def close(self) -> None:
        if self._wait:
            self._wait.cancel()
        await self.backend.close()


def job(id: str, key: str | None = None, **rest: Any) -> JobSpec:
    return JobSpec(id, rest.pop("task", "task"), rest.pop("payload", b"payload"), key, **rest)


async def use_everything(driver: AsyncDriver) -> None:
    """Call every verb, with most of its branches."""
    queue = driver.queue
    await queue.configure(
        [Declare(None, GateSettings.of(limit=50)), Declare("task", GateSettings.of(limit=Limit(2, "x")))]
    )
    await driver.put(
        *[job(f"{n}", f"k{n % 3}", value=f"v{n % 2}", unique=f"u{n}", delay=n % 2, expires=10**9) for n in range(9)]
    )
    await queue.configure([Pause(key="k1"), Pause("task"), Resume("task")])
    leases = await driver.leases(9)
    await queue.extend([Extension(lease.spec.id, lease.token, 10**9, b"half") for lease in leases])
    outcomes = (Succeed(b"", 1), Fail(b"", True, 1), Retry(1, b"", 1), Release(0, 1))
    ends = [Settlement(lease.spec.id, lease.token, outcomes[n % 4]) for n, lease in enumerate(leases)]
    await queue.settle(driver.call(), ends)
    await queue.find(Filter(), 0, 100)
    await queue.blocked_keys(None, 1)
    await queue.skip([lease.spec.id for lease in leases])
    await queue.requeue([lease.spec.id for lease in leases])
    await queue.wait(0.01)
    await queue.finished("8", 0.01)
    await queue.cancel(["8", "7"], "asked")
    await queue.stats()
    await queue.purge(100)


@pytest.fixture
async def backend(any_redis_server: Server) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(any_redis_server.url)
    await backend.open()
    yield backend
    await backend.close()


@pytest.fixture
def driver(backend: RedisBackend) -> AsyncDriver:
    return AsyncDriver(backend.queue("queue"), retain=0)


@pytest.fixture
async def waiter(any_redis_server: Server, driver: AsyncDriver) -> AsyncIterator[Waiter]:
    await driver.queue.configure([])
    waiter = Waiter(any_redis_server.url)
    await waiter.open()
    yield waiter
    await waiter.close()
