"""The app's lifespan: opens the Fifoq, embeds a worker, composes with the app's own; and the server's shutdown."""

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from types import FrameType
from typing import Any, NamedTuple, Self, cast

from fastapi import FastAPI, Request

from fifoq import Fifoq, Worker

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SERVER_POLL = 0.25
"""Seconds between two looks at a server, which can stop without a signal."""
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]
"""A lifespan for `FastAPI(lifespan=…)`. It may yield a mapping, which becomes part of `request.state`."""

_STATE = "fifoq"


# ---- the shutdown ----


class ServerShutdown:
    """
    The beginning of the server's shutdown, by a signal or without.

    A server ends the lifespan only after its last response. So streams, and requests that wait for a job, which would
    go on for as long as their client listens, end when the shutdown begins.
    """

    def __init__(self) -> None:
        self.begun = False
        self.hurry: Callable[[], None] = _nothing
        """Called at a second Ctrl-C."""
        self._limits: set[asyncio.Timeout] = set()
        self._server: Any = None
        """The uvicorn server that handles the signals, if there is one."""

    def begin(self) -> None:
        """Note that the server stops, and end all waits inside `cuts`. On the loop only."""
        self.begun = True
        for limit in tuple(self._limits):
            _end(limit)

    @contextmanager
    def cuts(self, limit: asyncio.Timeout) -> Generator[None]:
        """While inside, `limit` is over as soon as the shutdown begins."""
        if self.begun:
            _end(limit)
        self._limits.add(limit)
        try:
            yield
        finally:
            self._limits.discard(limit)

    @contextmanager
    def listening(self) -> Generator[Self]:
        """
        Handle SIGINT and SIGTERM before the server's own handlers, which are called all the same.

        A second SIGINT means that the user does not want to wait. A second SIGTERM does not: Ctrl-C in front of a
        server of several processes sends each of them both. Without a server that handles signals (tests, threads)
        no handler is touched.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        loop = asyncio.get_running_loop()
        before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
        chained = {number: handler for number, handler in before.items() if callable(handler)}
        self._server = _server_of(chained)
        watcher = None
        if self._server is not None:
            watcher = asyncio.create_task(_until_it_stops(self._server, self), name="fifoq: watches the server")
        signalled = False

        def received(number: int, frame: FrameType | None) -> Any:
            nonlocal signalled
            # Python runs a handler between any two bytecodes of the main thread, so it only wakes the loop.
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._begin_by_signal, number == signal.SIGINT and (signalled or self.begun))
            signalled = True
            return chained[number](number, frame)

        for number in chained:
            signal.signal(number, received)
        try:
            yield self
        finally:
            if watcher is not None:
                watcher.cancel()
            for number, handler in chained.items():
                if signal.getsignal(number) is received:
                    signal.signal(number, handler)

    def _begin_by_signal(self, impatient: bool) -> None:
        if impatient:
            self.hurry()
            _drop_clients(self._server)
        self.begin()


def _nothing() -> None: ...


def _end(limit: asyncio.Timeout) -> None:
    limit.reschedule(asyncio.get_running_loop().time())


def _server_of(handlers: dict[int, Any]) -> Any:
    """Return the uvicorn server that has these handlers, or None."""
    server = next((each.__self__ for each in handlers.values() if hasattr(each, "__self__")), None)
    return server if hasattr(server, "should_exit") else None


def _drop_clients(server: Any) -> None:
    """
    Cut the open connections of a server that is to stop at once.

    From CPython 3.12.1 on the server would wait for them all the same: there `asyncio.Server.wait_closed` waits until
    all connections are closed.
    """
    if getattr(server, "force_exit", False):
        for connection in tuple(server.server_state.connections):
            connection.transport.abort()


async def _until_it_stops(server: Any, shutdown: ServerShutdown) -> None:
    """Begin the shutdown when the server stops without a signal: by its flag, or after its last request."""
    while not (server.should_exit or _closed(server)):  # noqa: ASYNC110 (a server has no event for it)
        await asyncio.sleep(SERVER_POLL)
    shutdown.begin()


def _closed(server: Any) -> bool:
    """Whether the server no longer listens. False before it has begun to."""
    listeners = getattr(server, "servers", [])
    return bool(listeners) and not any(each.is_serving() for each in listeners)


# ---- the lifespan ----


class OpenApp(NamedTuple):
    """The worker and the shutdown of one Fifoq in one app."""

    worker: Worker | None
    shutdown: ServerShutdown


def lifespan(tasks: Fifoq, worker: bool = False, then: Lifespan | None = None) -> Lifespan:
    """
    Return a lifespan for `FastAPI(lifespan=…)` that opens `tasks`, and with `worker=True` runs its jobs here.

    `then` is the app's own lifespan, or that of another Fifoq. It starts when `tasks` is open and before the worker
    claims anything, and ends after the worker: jobs find what it set up, and it may enqueue. At shutdown the server
    first ends its requests; the worker goes on claiming until then, so that requests which await results can finish,
    and has its grace period after that. Streams, and requests that wait for a job by `?wait=`, end at the server's
    signal.

        app = FastAPI(lifespan=lifespan(tasks, worker=True, then=open_database))
    """

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncGenerator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(tasks)
            state = dict(await stack.enter_async_context(then(app)) or {}) if then else {}
            shutdown = stack.enter_context(ServerShutdown().listening())
            embedded = await stack.enter_async_context(tasks.worker()) if worker else None
            if embedded is not None:
                shutdown.hurry = embedded.hurry
            apps = {**state.get(_STATE, {}), tasks: OpenApp(embedded, shutdown)}
            yield {**state, _STATE: apps}

    return run


def open_app(request: Request, tasks: Fifoq) -> OpenApp | None:
    """Return the worker and shutdown of `tasks` in this app; None if the app was not started with `lifespan(tasks)`."""
    apps = cast("Mapping[Fifoq, OpenApp]", getattr(request.state, _STATE, {}))
    return apps.get(tasks)
