"""
The connection on which a backend is told of what it waits for: pushed by the scripts, in a channel of its own.

Nothing that is said here is needed: what is lost is asked for a second later.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis import exceptions as driver
from redis.asyncio.connection import AbstractConnection

from fifoq.errors import FifoqError
from fifoq_redis.connecting import Connect, abandon, drop, encode
from fifoq_redis.faults import Unsent

PING = 5.0
"""Seconds of silence after which the server is asked whether it is there; as long again, and it is not."""
_PAUSES = (0.05, 0.1, 0.2, 0.5)
"""Seconds between tries to connect; the last one is repeated."""


class Bell:
    """One subscription at one server, kept up from the first need until it is closed."""

    def __init__(self, connect: Connect, channel: bytes, heard: Callable[[bytes], None]) -> None:
        self._connect = connect
        self._channel = channel
        self._heard = heard
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether what is said now will be heard."""
        return self._up.is_set()

    async def ready(self, timeout: float) -> bool:
        """Subscribe if that has not been done; return whether it is within `timeout` seconds."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())
        if not self.up:
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
        if self._connection is not None:
            abandon(self._connection)

    async def _serve(self) -> None:
        failures = 0
        while True:
            try:
                self._connection = await self._connect()
                failures = 0
                await self._listen(self._connection)
            except (Unsent, FifoqError, driver.RedisError, OSError):
                pass  # those who wait ask each second, and that tells them what is wrong
            finally:
                self._up.clear()
                connection, self._connection = self._connection, None
                if connection is not None:
                    await drop(connection)
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    async def _listen(self, connection: AbstractConnection) -> None:
        await connection.send_packed_command(encode("SUBSCRIBE", self._channel), check_health=False)
        replies: Any = connection  # whose types are not known
        asked = False
        while True:
            try:
                async with asyncio.timeout(PING):
                    said = await replies.read_response(disable_decoding=True, disconnect_on_error=False)
            except TimeoutError:
                if asked:
                    return
                asked = True
                await connection.send_packed_command(encode("PING"), check_health=False)
                continue
            asked = False
            self._take(said)

    def _take(self, said: Any) -> None:
        match said:
            case [b"subscribe", *_]:
                self._up.set()
            case [b"message", _, bytes() as message]:
                self._heard(message)
            case _:
                pass  # PONG
