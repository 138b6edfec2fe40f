"""
One connection for all calls of a backend to one server, in the order in which they are made.

While a reply is awaited, all that is called in one turn of the loop is sent together; replies come while more is sent.
A call that is cancelled leaves its reply to be read and thrown away, so nothing gets out of step. It knows no verbs.
"""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import hiredis
from redis import exceptions as driver
from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.backoff import NoBackoff
from redis.retry import Retry

from fifoq.errors import FifoqError
from fifoq_redis.encoding import Word, encode
from fifoq_redis.errors import Lost, Refused, Unsent, refused
from fifoq_redis.url import Account, Address, Location, Tls

Connect = Callable[[], Awaitable[AbstractConnection]]
"""Makes a new connection. Raises Unsent if there is none to be had, or a FifoqError that says more."""


async def connect(
    location: Location, address: Address, *, account: Account | None = None, db: int = 0
) -> AbstractConnection:
    """Connect and log in within the location's timeout. Raises Unsent, or a FifoqError that says why not."""
    connection = _make(address, account or location.account, location.tls, db)
    try:
        async with asyncio.timeout(location.timeout):
            await connection.connect()
    except (TimeoutError, driver.TimeoutError) as error:
        await drop(connection)
        raise Unsent(f"no connection within {location.timeout:g} s") from error
    except driver.RedisError as error:
        await drop(connection)
        raise _reason(address, error) from error
    except BaseException:
        await drop(connection)
        raise
    return connection


async def ask(connection: AbstractConnection, timeout: float, *words: Word) -> Any:
    """Send one command on a connection that nobody else uses, and return its reply. Raises Unsent, or redis-py's."""
    try:
        async with asyncio.timeout(timeout):
            await connection.send_packed_command(encode(*words), check_health=False)
            return await cast(Any, connection).read_response(disable_decoding=True)
    except TimeoutError as error:
        raise Unsent(f"no answer within {timeout:g} s") from error


def _make(address: Address, account: Account, tls: Tls | None, db: int) -> AbstractConnection:
    common: dict[str, Any] = {
        "db": db,
        "username": account.username,
        "password": account.password,
        "socket_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "protocol": 2,
    }
    if not address.port:
        return UnixDomainSocketConnection(path=address.host, **common)
    common |= {"host": address.host, "port": address.port}
    if tls is None:
        return Connection(**common)
    tls.context()  # says which file is wrong, before a connection only says that something is
    given: dict[str, Any] = {"ssl_ca_certs": tls.ca, "ssl_certfile": tls.cert, "ssl_keyfile": tls.key}
    return SSLConnection(**common, **given, ssl_cert_reqs="required", ssl_check_hostname=True)


def _reason(address: Address, error: driver.RedisError) -> Exception:
    if type(error) in (driver.ConnectionError, driver.TimeoutError):
        return Unsent(str(error))
    known: FifoqError = refused(str(address), error)
    return known


async def drop(connection: AbstractConnection) -> None:
    """Let go of a connection, whatever state it is in."""
    with suppress(driver.RedisError, OSError):
        await connection.disconnect(nowait=True)


_GRAVEYARD: list[object] = []
"""Connections of a parent process. Closing one properly here would end it there."""
_NOT_YET = object()


class RawConnection(asyncio.Protocol):
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


class PendingCommand:
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


class PipelinedConnection:
    """Connects when it is needed, and again when it has to."""

    def __init__(self, connect: Connect, timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._line: RawConnection | None = None
        self._unsent: list[PendingCommand] = []
        self._sent: deque[PendingCommand] = deque()
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
        order = PendingCommand(command, replies, self._loop)
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

    def _put_on(self, line: RawConnection, *orders: PendingCommand) -> None:
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
            line = RawConnection(await self._connect(), self._heard, self._ended)
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
