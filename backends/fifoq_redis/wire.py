"""
One connection for all calls of a backend to one server, in the order in which they are made.

All that is called in one turn of the loop is sent together; replies come while more is sent. A call that is cancelled
leaves its reply to be read and thrown away, so nothing gets out of step. It knows commands, not scripts.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from redis import exceptions as driver
from redis.asyncio.connection import AbstractConnection

from fifoq.errors import FifoqError
from fifoq_redis.connecting import Connect, abandon, drop
from fifoq_redis.faults import Lost, Unsent

_BROKEN = (driver.ConnectionError, driver.TimeoutError, driver.InvalidResponse)


class Order:
    """One command, or several that belong together: the reply to the last one counts."""

    __slots__ = ("command", "future", "replies", "since")

    def __init__(self, command: bytes, replies: int, loop: asyncio.AbstractEventLoop) -> None:
        self.command = command
        self.replies = replies
        self.future: asyncio.Future[Any] = loop.create_future()
        self.since = 0.0
        """When it was sent."""

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Wire:
    """Connects when it is needed, and again when it has to."""

    def __init__(self, connect: Connect, timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._line: Line | None = None
        self._unsent: list[Order] = []
        self._waiting: asyncio.Future[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._closed = False
        self.turns = 0
        """How many times something was sent: the round trips."""

    async def call(self, command: bytes, replies: int = 1) -> Any:
        """
        Send a command and return its reply.

        Raises Unsent if it was not sent, Lost if it was and no reply came in time, or the server's error.
        """
        if self._closed:
            raise Unsent("the backend is closed")
        order = Order(command, replies, self._loop)
        self._unsent.append(order)
        if self._writing is None:
            self._writing = self._loop.create_task(self._write())
        elif self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        return await order.future

    def hang_up(self) -> None:
        """Leave this connection; the next call makes another one."""
        line, self._line = self._line, None
        if line is not None:
            line.cut("the connection was given up")

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._closed = True
        if self._writing is not None:
            self._writing.cancel()
            with suppress(asyncio.CancelledError):
                await self._writing
            self._writing = None
        line, self._line = self._line, None
        if line is not None:
            await line.close()
        for order in self._unsent:
            order.fail(Unsent("the backend was closed"))

    def abandon(self) -> None:
        """This is a forked child: leave the connection to the parent."""
        self._closed = True
        if self._line is not None:
            abandon(self._line.connection)

    async def _write(self) -> None:
        while True:
            while not self._unsent:
                self._waiting = self._loop.create_future()
                await self._waiting
            line = self._line
            if line is None or line.broken:
                line = self._line = await self._reconnect()
            orders = [order for order in self._unsent if not order.future.done()]
            self._unsent.clear()
            if line is not None and orders:
                self.turns += 1
                await line.send(orders)

    async def _reconnect(self) -> "Line | None":
        try:
            return Line(await self._connect(), self._timeout)
        except (Unsent, FifoqError) as error:
            for order in self._unsent:
                order.fail(error)
            return None


class Line:
    """One connection, from its making to its end."""

    def __init__(self, connection: AbstractConnection, timeout: float) -> None:
        self.connection = connection
        self.broken = False
        self._replies: Any = connection  # whose types are not known
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._sent: deque[Order] = deque()
        self._why = "the connection was closed"
        self._watch: asyncio.TimerHandle | None = None
        self._reading = self._loop.create_task(self._read())

    async def send(self, orders: list[Order]) -> None:
        """Send all of these. What then goes wrong is told to those who wait for the replies."""
        now = self._loop.time()
        for order in orders:
            order.since = now
        self._sent.extend(orders)
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._look)
        try:
            await self.connection.send_packed_command(b"".join([one.command for one in orders]), check_health=False)
        except _BROKEN as error:
            self.cut(str(error))

    def cut(self, why: str) -> None:
        """End it: those who wait are told why."""
        self.broken = True
        self._why = why
        self._reading.cancel()

    async def close(self) -> None:
        self.cut("the backend was closed")
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self) -> None:
        try:
            while True:
                await self._read_one()
        except _BROKEN as error:
            self._why = str(error)
        finally:
            self.broken = True
            for order in self._sent:
                order.fail(Lost(self._why))
            self._sent.clear()
            if self._watch is not None:
                self._watch.cancel()
            await drop(self.connection)

    async def _read_one(self) -> None:
        reply: Any = None
        error: Exception | None = None
        try:
            reply = await self._replies.read_response(disable_decoding=True, disconnect_on_error=False)
        except driver.RedisError as refusal:
            # LOADING and others are errors of connections to redis-py, and answers to us.
            if type(refusal) in _BROKEN:
                raise
            error = refusal
        if not self._sent:
            raise driver.ConnectionError("the server spoke unasked")
        order = self._sent[0]
        order.replies -= 1
        if order.replies:
            return
        self._sent.popleft()
        if error is not None:
            order.fail(error)
        elif not order.future.done():
            order.future.set_result(reply)

    def _look(self) -> None:
        """Give up if the oldest call has waited too long for its reply."""
        self._watch = None
        if not self._sent:
            return
        late = self._sent[0].since + self._timeout - self._loop.time()
        if late <= 0:
            self.cut(f"no reply within {self._timeout:g} s")
        else:
            self._watch = self._loop.call_later(late, self._look)
