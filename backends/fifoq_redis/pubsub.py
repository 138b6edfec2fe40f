"""
The connection on which a backend is told of what it waits for: pushed by the functions, in a channel of its own.

Nothing that is said here is needed: what is lost is asked for a second later.
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

PING = 5.0
"""Seconds of silence after which the server is asked whether it is there; as long again, and it is not."""
_PAUSES = (0.05, 0.1, 0.2, 0.5)
"""Seconds between tries to connect; the last one is repeated."""


class Subscription:
    """One subscription at one server, kept up from the first need until it is closed."""

    def __init__(self, place: Node, channel: bytes, heard: Callable[[bytes], None]) -> None:
        self._place = place
        self._moves = 0
        self._channel = channel
        self._heard = heard
        self._line: RawConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._silent = True
        self._follows = False
        """It was cut here, to listen elsewhere: nothing is wrong."""

    @property
    def up(self) -> bool:
        """
        Whether what is said now will be heard.

        It is said where calls go: once they have gone over to another server, nothing is heard here any more.
        """
        return self._up.is_set() and self._moves == self._place.moves

    async def ready(self, timeout: float) -> bool:
        """Subscribe if that has not been done; return whether it is within `timeout` seconds."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())
        if not self.up:
            if self._up.is_set() and self._line is not None:
                self._up.clear()
                self._follows = True
                self._line.cut("calls go elsewhere")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._up.wait(), timeout)
        return self.up

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def abandon(self) -> None:
        """This is a forked child: leave the connection to the parent."""
        if self._line is not None:
            self._line.abandon()

    async def _serve(self) -> None:
        failures = 0
        while True:
            # Those who wait ask each second, and that tells them what is wrong.
            with suppress(Unsent, FifoqError):
                await self._listen()
                failures = 0
            if self._follows:
                self._follows = False
                continue
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    async def _listen(self) -> None:
        """Listen until the connection ends, or is silent though the server was asked to say something."""
        over = asyncio.Event()
        self._moves = self._place.moves
        line = self._line = RawConnection(await self._place.connect(), self._take, lambda _: over.set())
        line.send(encode("SUBSCRIBE", self._channel))
        try:
            asked = False
            while not (self._silent and asked):
                asked, self._silent = self._silent, True
                if asked:
                    line.send(encode("PING"))
                with suppress(TimeoutError):
                    async with asyncio.timeout(PING):
                        await over.wait()
                    return
        finally:
            self._up.clear()
            self._line = None
            line.cut("the bell is not needed")

    def _take(self, said: Any) -> None:
        self._silent = False
        match said:
            case [b"subscribe", *_]:
                self._up.set()
            case [b"message", _, bytes() as message]:
                self._heard(message)
            case Refused() if self._line is not None:
                self._line.cut(str(said))
            case _:
                pass  # PONG
