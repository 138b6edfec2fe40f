"""How a backend wakes those who wait on one loop: each has a ring, and what it is given ends the wait."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


class Waiter:
    """Of one who waits. The first that it is given counts, until he has had it."""

    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Any] = self._loop.create_future()

    def give(self, value: Any) -> None:
        """Wake him with this."""
        if not self._future.done():
            self._future.set_result(value)

    async def within(self, timeout: float) -> Any:
        """What it is given within `timeout` seconds, or None; it can be asked again."""
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
    """Of those who wait for something of one job each."""

    def __init__(self) -> None:
        self._rings: dict[str, set[Waiter]] = {}

    def __bool__(self) -> bool:
        return bool(self._rings)

    @contextmanager
    def waiting(self, id: str) -> "Generator[Waiter]":
        """A ring for somebody who waits for this job."""
        ring = Waiter()
        rings = self._rings.setdefault(id, set())
        rings.add(ring)
        try:
            yield ring
        finally:
            rings.discard(ring)
            if not rings and self._rings.get(id) is rings:
                del self._rings[id]

    def give(self, id: str, value: Any) -> None:
        """Wake all who wait for this job."""
        for ring in self._rings.get(id, ()):
            ring.give(value)

    def give_all(self, value: Any) -> None:
        """Wake all."""
        for id in self._rings:
            self.give(id, value)
