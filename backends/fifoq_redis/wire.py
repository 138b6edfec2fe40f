"""
One connection for all calls of a backend to one server, in the order in which they are made.

While a reply is awaited, all that is called in one turn of the loop is sent together; replies come while more is sent.
A call that is cancelled leaves its reply to be read and thrown away, so nothing gets out of step. It knows no verbs.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from fifoq_redis.connecting import Connect
from fifoq_redis.faults import Lost, Refused, Unsent
from fifoq_redis.line import Line


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
        self._sent: deque[Order] = deque()
        self._sending = False
        """`_send` is called at the end of this turn."""
        self._connecting: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self.turns = 0
        """How many times something was sent: the round trips."""

    def call(self, command: bytes, replies: int = 1) -> asyncio.Future[Any]:
        """
        Send a command; the future brings its reply.

        It raises Unsent if it was not sent, Lost if it was and no reply came in time, Refused if the server did.
        """
        order = Order(command, replies, self._loop)
        if self._closed:
            order.fail(Unsent("the backend is closed"))
            return order.future
        line = self._line
        if not self._sent and not self._unsent and line is not None and not line.full:
            self._put_on(line, order)  # nothing is under way: to wait for others would only cost time
            return order.future
        self._unsent.append(order)
        if line is None:
            self._send()
        elif not self._sending:
            self._sending = True
            self._loop.call_soon(self._send)
        return order.future

    def hang_up(self) -> None:
        """Leave this connection; the next call makes another one."""
        if self._line is not None:
            self._line.cut("the connection was given up")

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        if self._line is not None:
            self._line.cut("the backend was closed")
        self._fail_unsent(Unsent("the backend was closed"))

    def abandon(self) -> None:
        """This is a forked child: leave the connection to the parent."""
        self._closed = True
        if self._line is not None:
            self._line.abandon()

    def _send(self) -> None:
        self._sending = False
        line = self._line
        if line is None:
            if self._connecting is None and not self._closed:
                self._connecting = self._loop.create_task(self._reconnect())
            return
        if line.full:
            return  # and sent when it is free
        orders = [order for order in self._unsent if not order.future.done()]
        self._unsent.clear()
        if orders:
            self._put_on(line, *orders)

    def _put_on(self, line: Line, *orders: Order) -> None:
        now = self._loop.time()
        for order in orders:
            order.since = now
        self._sent.extend(orders)
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._look)
        self.turns += 1
        line.send(orders[0].command if len(orders) == 1 else b"".join([one.command for one in orders]))

    async def _reconnect(self) -> None:
        try:
            line = Line(await self._connect(), self._heard, self._ended)
            line.free = self._send
            self._line = line
        except Exception as error:
            self._fail_unsent(error)
        finally:
            self._connecting = None
        if self._unsent:
            self._send()

    def _fail_unsent(self, error: Exception) -> None:
        unsent, self._unsent = self._unsent, []
        for order in unsent:
            order.fail(error)

    def _heard(self, reply: Any) -> None:
        if not self._sent:
            if self._line is not None:
                self._line.cut("the server spoke unasked")
            return
        order = self._sent[0]
        order.replies -= 1
        if order.replies:
            return
        self._sent.popleft()
        if isinstance(reply, Refused):
            order.fail(reply)
        elif not order.future.done():
            order.future.set_result(reply)

    def _ended(self, why: str) -> None:
        self._line = None
        sent, self._sent = self._sent, deque()
        for order in sent:
            order.fail(Lost(why))
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._unsent:
            self._send()

    def _look(self) -> None:
        """Give up if the oldest call has waited too long for its reply."""
        self._watch = None
        if not self._sent or self._line is None:
            return
        late = self._sent[0].since + self._timeout - self._loop.time()
        if late <= 0:
            self._line.cut(f"no reply within {self._timeout:g} s")
        else:
            self._watch = self._loop.call_later(late, self._look)
