"""
One pipelined connection for all calls of a backend to one server, in the order in which they are made.

While a reply is awaited, all calls of one turn of the loop are sent together; replies come while more are sent. The
reply to a cancelled call is read and dropped, so replies stay in step with calls. redis-py connects and logs in.
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
from fifoq.extras import unfit
from fifoq_redis.encoding import Word, encode
from fifoq_redis.errors import Lost, Refused, Unsent, refused
from fifoq_redis.url import Account, Address, Location, Tls

Connect = Callable[[], Awaitable[AbstractConnection]]
"""Makes a new connection. Raises Unsent if none can be made, or a FifoqError with the reason."""

_ABANDONED: list[object] = []
"""Connections of the parent process, kept for ever: closing one here would end it there."""
_INCOMPLETE = object()
"""Returned by the reader of replies until the next one is complete."""


# ---- connecting, by redis-py ----


async def connect(
    location: Location, address: Address, *, account: Account | None = None, db: int = 0
) -> AbstractConnection:
    """Connect and log in within the location's timeout. Raises Unsent, or a FifoqError with the reason."""
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


async def query(connection: AbstractConnection, timeout: float, *words: Word) -> Any:
    """Send one command on a connection without other calls; return its reply. Raises Unsent, or redis-py's errors."""
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
    tls.context()  # its error names the wrong file; an error of the connection does not
    given: dict[str, Any] = {"ssl_ca_certs": tls.ca, "ssl_certfile": tls.cert, "ssl_keyfile": tls.key}
    return SSLConnection(**common, **given, ssl_cert_reqs="required", ssl_check_hostname=True)


def _reason(address: Address, error: driver.RedisError) -> Exception:
    if type(error) in (driver.ConnectionError, driver.TimeoutError):
        return Unsent(str(error))
    known: FifoqError = refused(str(address), error)
    return known


async def drop(connection: AbstractConnection) -> None:
    """Close a connection in any state."""
    with suppress(driver.RedisError, OSError):
        await connection.disconnect(nowait=True)


# ---- one connection ----


class RawConnection(asyncio.Protocol):
    """
    An asyncio protocol that has taken over a connection of redis-py.

    `received` is called with each reply, a Refused if that is an error; `ended` once, with the reason, when it is over.
    """

    def __init__(
        self, connection: AbstractConnection, received: Callable[[Any], None], ended: Callable[[str], None]
    ) -> None:
        self.broken = False
        self.full = False
        """The server does not keep up: send nothing more until `free` is called."""
        self.free: Callable[[], None] = lambda: None
        self._received = received
        self._ended = ended
        self._reader: Any = cast(Any, hiredis).Reader(replyError=Refused, notEnoughData=_INCOMPLETE)
        # Neither redis-py nor asyncio may close the transport when their objects are collected.
        streams: Any = connection
        if getattr(streams, "_writer", None) is None or not hasattr(streams, "_reader"):
            raise unfit("redis")
        self._writer = streams._writer
        streams._writer = streams._reader = None
        self._transport: asyncio.Transport = self._writer.transport
        self._transport.set_protocol(self)
        if self._transport.is_closing():
            asyncio.get_running_loop().call_soon(self.cut, "the connection was closed")

    def send(self, data: bytes) -> None:
        """Send data, now or as soon as the server takes it."""
        self._transport.write(data)

    def cut(self, why: str) -> None:
        """End the connection at once. Idempotent."""
        if not self.broken:
            self.broken = True
            self._transport.abort()
            self._ended(why)

    def abandon(self) -> None:
        """Close the socket without sending anything: this process is a forked child, the connection its parent's."""
        self.broken = True
        _ABANDONED.append(self)
        socket = self._transport.get_extra_info("socket")
        if socket is not None and socket.fileno() >= 0:
            os.close(socket.fileno())

    # ---- called by asyncio ----

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                self._received(reply)
        except hiredis.HiredisError as error:
            self.cut(f"the server sent something that is no reply: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.cut(str(exc) if exc else "the server closed the connection")

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.free()


# ---- a pipelined connection ----


class PendingCommand:
    """One command, or several that belong together: the last reply is theirs."""

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
    """Sends commands and matches replies. It connects at the first call, and again after a connection ended."""

    def __init__(self, connect: Connect, timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._raw: RawConnection | None = None
        self._unsent: list[PendingCommand] = []
        self._sent: deque[PendingCommand] = deque()
        self._sending = False
        """Whether `_send` is called at the end of this turn."""
        self._connecting: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False
        self.sends = 0
        """The number of writes: round trips."""

    def call(self, command: bytes, replies: int = 1) -> asyncio.Future[Any]:
        """
        Send a command; the future brings its reply.

        It raises Unsent if the command was not sent, Lost if no reply came in time, Refused for an error reply.
        """
        pending = PendingCommand(command, replies, self._loop)
        if self._closed:
            pending.fail(Unsent("the backend is closed"))
            return pending.future
        raw = self._raw
        if not self._sent and not self._unsent and raw is not None and not raw.full:
            self._write(raw, pending)  # nothing is under way, so waiting for more calls would only cost time
            return pending.future
        self._unsent.append(pending)
        if raw is None:
            self._send()
        elif not self._sending:
            self._sending = True
            self._loop.call_soon(self._send)
        return pending.future

    def hang_up(self) -> None:
        """End this connection; the next call makes another one."""
        if self._raw is not None:
            self._raw.cut("the connection was given up")

    async def close(self) -> None:
        """Close the connection. Idempotent."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        if self._raw is not None:
            self._raw.cut("the backend was closed")
        self._fail_unsent(Unsent("the backend was closed"))

    def abandon(self) -> None:
        """Leave the connection to the parent: this process is a forked child."""
        self._closed = True
        if self._raw is not None:
            self._raw.abandon()

    def _send(self) -> None:
        self._sending = False
        raw = self._raw
        if raw is None:
            if self._connecting is None and not self._closed:
                self._connecting = self._loop.create_task(self._reconnect())
            return
        if raw.full:
            return  # `free` sends the rest
        commands = [pending for pending in self._unsent if not pending.future.done()]
        self._unsent.clear()
        if commands:
            self._write(raw, *commands)

    def _write(self, raw: RawConnection, *commands: PendingCommand) -> None:
        now = self._loop.time()
        for pending in commands:
            pending.since = now
        self._sent.extend(commands)
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._timeout, self._check_late)
        self.sends += 1
        raw.send(commands[0].command if len(commands) == 1 else b"".join([one.command for one in commands]))

    async def _reconnect(self) -> None:
        try:
            raw = RawConnection(await self._connect(), self._received, self._ended)
            raw.free = self._send
            self._raw = raw
        except Exception as error:
            self._fail_unsent(error)
        finally:
            self._connecting = None
        if self._unsent:
            self._send()

    def _fail_unsent(self, error: Exception) -> None:
        unsent, self._unsent = self._unsent, []
        for pending in unsent:
            pending.fail(error)

    def _received(self, reply: Any) -> None:
        if not self._sent:
            if self._raw is not None:
                self._raw.cut("the server sent a reply without a call")
            return
        pending = self._sent[0]
        pending.replies -= 1
        if pending.replies:
            return
        self._sent.popleft()
        if isinstance(reply, Refused):
            pending.fail(reply)
        elif not pending.future.done():
            pending.future.set_result(reply)

    def _ended(self, why: str) -> None:
        self._raw = None
        sent, self._sent = self._sent, deque()
        for pending in sent:
            pending.fail(Lost(why))
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._unsent:
            self._send()

    def _check_late(self) -> None:
        """End the connection if the oldest call has waited too long for its reply."""
        self._alarm = None
        if not self._sent or self._raw is None:
            return
        late = self._sent[0].since + self._timeout - self._loop.time()
        if late <= 0:
            self._raw.cut(f"no reply within {self._timeout:g} s")
        else:
            self._alarm = self._loop.call_later(late, self._check_late)
