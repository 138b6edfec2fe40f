"""Waiters of one event loop, which a backend wakes with a value."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


class Waiter:
    """One coroutine that waits for a value. The first value given counts, until `within` has returned it."""

    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Any] = self._loop.create_future()

    def give(self, value: Any) -> None:
        """Wake the waiter with `value`."""
        if not self._future.done():
            self._future.set_result(value)

    async def within(self, timeout: float) -> Any:
        """Return the value given within `timeout` seconds, or None. After None it may be called again."""
        if not self._future.done():
            timer = self._loop.call_later(timeout, self.give, None)
            try:
                await self._future
            finally:
                timer.cancel()
        value = self._future.result()
        if value is None:
            self._future = self._loop.create_future()
        return value


class JobWaiters:
    """The waiters for something about a job, by job id."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[Waiter]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiters)

    @contextmanager
    def waiting(self, id: str) -> "Generator[Waiter]":
        """Register a new waiter for this job for a block."""
        waiter = Waiter()
        waiters = self._waiters.setdefault(id, set())
        waiters.add(waiter)
        try:
            yield waiter
        finally:
            waiters.discard(waiter)
            if not waiters and self._waiters.get(id) is waiters:
                del self._waiters[id]

    def give(self, id: str, value: Any) -> None:
        """Wake all waiters for this job."""
        for waiter in self._waiters.get(id, ()):
            waiter.give(value)

    def give_all(self, value: Any) -> None:
        """Wake all waiters for all jobs."""
        for id in self._waiters:
            self.give(id, value)
