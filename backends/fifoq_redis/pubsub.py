"""
The subscription on which a backend receives notifications: functions publish them in the backend's own channel.

Notifications are hints. A waiter that misses one queries the store QUERY_AFTER seconds later.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fifoq.errors import FifoqError
from fifoq_redis.connection import RawConnection
from fifoq_redis.encoding import encode
from fifoq_redis.errors import Refused, Unsent
from fifoq_redis.topology import Node

QUERY_AFTER = 1.0
"""Seconds after which a waiter queries the store without a notification."""
PING = 5.0
"""Seconds without a message after which the server gets a PING; after as long again the connection is given up."""
_PAUSES = (0.05, 0.1, 0.2, 0.5)
"""Seconds between tries to connect; the last one is repeated."""


class Subscription:
    """The subscription at one server: made at the first need, and again whenever it breaks, until it is closed."""

    def __init__(self, node: Node, channel: bytes, received: Callable[[bytes], None]) -> None:
        self._node = node
        self._moves = 0
        self._channel = channel
        self._received = received
        self._raw: RawConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._silent = True
        self._follows = False
        """The connection was cut on purpose, to subscribe at another server."""

    @property
    def up(self) -> bool:
        """
        Whether notifications are received now.

        They are published where calls go: once calls go to another server, none arrives on this connection.
        """
        return self._up.is_set() and self._moves == self._node.moves

    async def ready(self, timeout: float) -> bool:
        """Subscribe if that has not been done; return whether it is within `timeout` seconds."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())
        if not self.up:
            if self._up.is_set() and self._raw is not None:
                self._up.clear()
                self._follows = True
                self._raw.cut("calls go elsewhere")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._up.wait(), timeout)
        return self.up

    async def close(self) -> None:
        """Close the connection. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def abandon(self) -> None:
        """Leave the connection to the parent: this process is a forked child."""
        if self._raw is not None:
            self._raw.abandon()

    async def _serve(self) -> None:
        failures = 0
        while True:
            # Waiters query the store each second, and that raises the reason.
            with suppress(Unsent, FifoqError):
                await self._listen()
                failures = 0
            if self._follows:
                self._follows = False
                continue
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    async def _listen(self) -> None:
        """Receive until the connection ends, or brings nothing in spite of a PING."""
        over = asyncio.Event()
        self._moves = self._node.moves
        raw = self._raw = RawConnection(await self._node.connect(), self._take, lambda _: over.set())
        raw.send(encode("SUBSCRIBE", self._channel))
        try:
            pinged = False
            while not (self._silent and pinged):
                pinged, self._silent = self._silent, True
                if pinged:
                    raw.send(encode("PING"))
                with suppress(TimeoutError):
                    async with asyncio.timeout(PING):
                        await over.wait()
                    return
        finally:
            self._up.clear()
            self._raw = None
            raw.cut("the subscription is not needed")

    def _take(self, reply: Any) -> None:
        self._silent = False
        match reply:
            case [b"subscribe", *_]:
                self._up.set()
            case [b"message", _, bytes() as message]:
                self._received(message)
            case Refused() if self._raw is not None:
                self._raw.cut(str(reply))
            case _:
                pass  # PONG
