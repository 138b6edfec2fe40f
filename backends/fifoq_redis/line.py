"""
One connection of redis-py's, from its making to its end, taken over: what it brings is handed on in the same turn.

redis-py connects and logs in. From then on its reader would cost a task to be woken for each reply, and its writer one
for each call. It knows neither what is asked nor what is answered.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection

from fifoq_redis.faults import Refused

_GRAVEYARD: list[object] = []
"""Connections of a parent process. Closing one properly here would end it there."""
_NOT_YET = object()


class Line(asyncio.Protocol):
    """
    A connection at work.

    `heard` is called with each reply, a Refused if that is an error; `ended` once, with the reason, when it is over.
    """

    def __init__(
        self, connection: AbstractConnection, heard: Callable[[Any], None], ended: Callable[[str], None]
    ) -> None:
        self.broken = False
        self.full = False
        """The server does not keep up: nothing more is to be sent until `free` is called."""
        self.free: Callable[[], None] = lambda: None
        self._heard = heard
        self._ended = ended
        self._reader: Any = cast(Any, hiredis).Reader(replyError=Refused, notEnoughData=_NOT_YET)
        # redis-py must not close it when its object goes, and asyncio must not when the writer does.
        streams: Any = connection
        self._writer = streams._writer
        streams._writer = streams._reader = None
        self._transport: asyncio.Transport = self._writer.transport
        self._transport.set_protocol(self)
        if self._transport.is_closing():
            asyncio.get_running_loop().call_soon(self.cut, "the connection was closed")

    def send(self, data: bytes) -> None:
        """Send this, now or as soon as the server takes it."""
        self._transport.write(data)

    def cut(self, why: str) -> None:
        """End it at once. Idempotent."""
        if not self.broken:
            self.broken = True
            self._transport.abort()
            self._ended(why)

    def abandon(self) -> None:
        """This is a forked child: nothing may be sent on the parent's connection, not even that it ends."""
        self.broken = True
        _GRAVEYARD.append(self)
        socket = self._transport.get_extra_info("socket")
        if socket is not None and socket.fileno() >= 0:
            os.close(socket.fileno())

    # ---- what asyncio calls

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOT_YET:
                self._heard(reply)
        except hiredis.HiredisError as error:
            self.cut(f"what came is no reply: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.cut(str(exc) if exc else "the server closed the connection")

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.free()
