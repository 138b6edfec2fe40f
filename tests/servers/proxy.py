"""
A proxy between one client and one server that loses what it is told to lose.

It reads commands, whole ones, so that it knows what it cuts. It runs on a loop of its own, in a thread, so that it
works while the test's loop is blocked; its methods may be called from anywhere.
"""

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from tests.servers.process import LONG
from tests.servers.resp import Commands

R = TypeVar("R")
Command = list[bytes]
Match = Callable[[Command], bool]
_MARK = b"the proxy has seen all replies so far"
_MESSAGE = re.compile(rb"[*>]3\r\n\$[78]\r\ns?message\r\n(?:\$\d+\r\n[^\r]*\r\n){2}")
"""A message of a channel."""


def scripts(command: Command) -> bool:
    """Whether the command runs a script."""
    return command[0].upper() in (b"EVAL", b"EVALSHA", b"FCALL")


def script_with(*parts: bytes) -> Match:
    """Match the scripts that are given all these bytes somewhere among their arguments."""
    return lambda command: scripts(command) and all(any(part in word for word in command) for part in parts)


class Proxy:
    """
    Listens on a free port for a server's clients.

        with Proxy(server.port) as proxy:
            Fifoq(f"redis://127.0.0.1:{proxy.port}")
            proxy.cut(script_with(b"job-7"))     # the next one: it runs, and its reply is lost with the connection
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.cuts = 0
        """How many replies, or commands, were lost so far."""
        self.commands = 0
        """How many commands went through."""
        self.silences = 0
        """How many messages of channels were lost so far."""
        self.turns = 0
        """How many times a client sent something: its round trips, pipelines counted once."""
        self._upstream = (host, port)
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._clients: set[_Client] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._orders: list[_Order] = []
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = False
        self._silent = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen()).result(LONG)
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close()).result(LONG)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LONG)
        self._loop.close()

    def cut(self, match: Match = scripts, *, times: int = 1, every: int = 1, before: bool = False) -> None:
        """
        Lose the reply of the next commands that match, `times` of them, each `every`-th, and their connections.

        Each ran to its end before its connection is cut; `before`: it never reaches the server.
        """
        self._loop.call_soon_threadsafe(self._orders.append, _Order(match, times, every, before))

    def heal(self) -> None:
        """Forget all orders to cut that were not carried out; let everything flow again."""

        def heal() -> None:
            self._orders.clear()
            self._refuses = self._silent = False
            self._flows.set()

        self._do(heal)

    def silence(self) -> None:
        """Lose every message that is published, until `heal`. All replies go through, and connections stand."""

        def silence() -> None:
            self._silent = True

        self._do(silence)

    def stall(self) -> None:
        """Hold back what clients send and servers reply, until `flow`. Connections stand."""
        self._do(self._flows.clear)

    def flow(self) -> None:
        self._do(self._flows.set)

    def drop(self, *, refuse: bool = False) -> int:
        """Reset all connections; `refuse` new ones until `heal`. Return how many there were."""

        def drop() -> int:
            self._refuses = refuse
            clients = list(self._clients)
            for client in clients:
                client.abort()
            return len(clients)

        return self._do(drop)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for client in list(self._clients):
            client.abort()
        self._flows.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        client = _Client(self, reader, writer)
        self._clients.add(client)
        if task := asyncio.current_task():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await client.serve(*self._upstream)
        except (OSError, asyncio.IncompleteReadError):
            pass  # either end is gone, and so is the other
        finally:
            client.abort()
            self._clients.discard(client)

    def order(self, command: Command) -> "_Order | None":
        """The order to cut this command, if there is one. It counts as carried out."""
        self.commands += 1
        for order in self._orders:
            if order.takes(command):
                self.cuts += 1
                if not order.times:
                    self._orders.remove(order)
                return order
        return None

    def silenced(self, data: bytes) -> bytes:
        """What is to go through of what a server says."""
        if not self._silent:
            return data
        data, lost = _MESSAGE.subn(b"", data)
        self.silences += lost
        return data

    async def flowing(self) -> None:
        await self._flows.wait()

    def _run(self, work: Coroutine[Any, Any, R]) -> "Future[R]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _do(self, work: Callable[[], R]) -> R:
        async def do() -> R:
            return work()

        return self._run(do()).result(LONG)


class _Order:
    """To cut some commands."""

    def __init__(self, match: Match, times: int, every: int, before: bool) -> None:
        self.times = times
        self.before = before
        self._match = match
        self._every = every
        self._seen = 0

    def takes(self, command: Command) -> bool:
        if not self._match(command):
            return False
        self._seen += 1
        if self._seen % self._every:
            return False
        self.times -= 1
        return True


class _Client:
    """One connection, and its twin to the server."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._up: asyncio.StreamWriter | None = None
        self._mark: asyncio.Event | None = None
        """Set when the server's reply to the mark has come; until then nothing is passed on."""

    def abort(self) -> None:
        for writer in (self._writer, self._up):
            if writer is not None:
                writer.transport.abort()

    async def serve(self, host: str, port: int) -> None:
        replies, self._up = await asyncio.open_connection(host, port)
        back = asyncio.create_task(self._pass_replies(replies))
        try:
            await self._pass_commands(self._up)
        finally:
            back.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await back

    async def _pass_commands(self, up: asyncio.StreamWriter) -> None:
        commands = Commands()
        while data := await self._reader.read(1 << 16):
            await self._proxy.flowing()
            self._proxy.turns += 1
            for command, raw in commands.feed(data):
                order = self._proxy.order(command)
                if order is not None:
                    await self._cut(up, raw, order)
                    return
                up.write(raw)
            await up.drain()

    async def _cut(self, up: asyncio.StreamWriter, raw: bytes, order: _Order) -> None:
        if order.before:
            return
        self._mark = asyncio.Event()
        # The server answers in order: when it has answered this, the command before it has run.
        up.write(raw + b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(_MARK), _MARK))
        await up.drain()
        await self._mark.wait()

    async def _pass_replies(self, replies: asyncio.StreamReader) -> None:
        try:
            await self._pass_each(replies)
        finally:
            if self._mark is not None:
                self._mark.set()
            self._writer.transport.abort()

    async def _pass_each(self, replies: asyncio.StreamReader) -> None:
        held = b""
        while data := await replies.read(1 << 16):
            if self._mark is not None:
                held = held[-len(_MARK) :] + data
                if _MARK in held:
                    return
                continue
            await self._proxy.flowing()
            self._writer.write(self._proxy.silenced(data))
            await self._writer.drain()
