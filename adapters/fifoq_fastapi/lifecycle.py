"""
The app's lifespan: opens the Fifoq, embeds a worker, and composes with the app's own lifespan.

It also detects the server's shutdown, which ends streams and waiting requests.
"""

import asyncio
import signal
import threading
import warnings
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from types import FrameType
from typing import Any, NamedTuple, Self, cast

from fastapi import FastAPI, Request

from fifoq import Fifoq, Worker

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SERVER_POLL_INTERVAL = 0.25
"""Seconds between two checks of the server, which can stop without a signal."""
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]
"""A lifespan for `FastAPI(lifespan=…)`. It may yield a mapping, which becomes part of `request.state`."""

_STATE = "fifoq"


# ---- the shutdown ----


class ServerShutdown:
    """
    The beginning of the server's shutdown, by a signal or without.

    A server ends the lifespan only after its last response. Streams, and requests that wait for a job, would go on for
    as long as their client reads; so they end when the shutdown begins.
    """

    def __init__(self) -> None:
        self.begun = False
        self.hurry: Callable[[], None] = _nothing
        """Called at a second Ctrl-C."""
        self._timeouts: set[asyncio.Timeout] = set()
        self._server: Any = None
        """The uvicorn server that handles the signals, if there is one."""

    def begin(self) -> None:
        """Note that the server stops, and end all waits inside `cuts`. Call it on the loop."""
        self.begun = True
        for timeout in tuple(self._timeouts):
            _expire(timeout)

    @contextmanager
    def cuts(self, timeout: asyncio.Timeout) -> Generator[None]:
        """Let `timeout` expire as soon as the shutdown begins, while inside the `with` block."""
        if self.begun:
            _expire(timeout)
        self._timeouts.add(timeout)
        try:
            yield
        finally:
            self._timeouts.discard(timeout)

    @contextmanager
    def handling_signals(self) -> Generator[Self]:
        """
        Handle SIGINT and SIGTERM before the server's own handlers, which are called all the same.

        A second SIGINT ends the grace period. A second SIGTERM does not: Ctrl-C in front of a server of several
        processes sends each of them both signals. Without a server that handles signals (tests, threads) no handler is
        replaced.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        loop = asyncio.get_running_loop()
        before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
        chained = {number: handler for number, handler in before.items() if callable(handler)}
        self._server = _server_behind(chained)
        watcher = None
        if self._server is not None:
            watcher = asyncio.create_task(_watch_server(self._server, self), name="fifoq: watches the server")
        signalled = False

        def on_signal(number: int, frame: FrameType | None) -> Any:
            nonlocal signalled
            # Python runs a handler between any two bytecodes of the main thread, so it only wakes the loop.
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._begin_by_signal, number == signal.SIGINT and (signalled or self.begun))
            signalled = True
            return chained[number](number, frame)

        for number in chained:
            signal.signal(number, on_signal)
        try:
            yield self
        finally:
            if watcher is not None:
                watcher.cancel()
            for number, handler in chained.items():
                if signal.getsignal(number) is on_signal:
                    signal.signal(number, handler)

    def _begin_by_signal(self, impatient: bool) -> None:
        if impatient:
            self.hurry()
            _abort_connections(self._server)
        self.begin()


def _nothing() -> None: ...


def _expire(timeout: asyncio.Timeout) -> None:
    timeout.reschedule(asyncio.get_running_loop().time())


def _server_behind(handlers: dict[int, Any]) -> Any:
    """Return the uvicorn server that has these handlers, or None."""
    server = next((each.__self__ for each in handlers.values() if hasattr(each, "__self__")), None)
    return server if hasattr(server, "should_exit") else None


def _abort_connections(server: Any) -> None:
    """
    Cut the open connections of a server that is to stop at once.

    From CPython 3.12.1 on the server would wait for them all the same: there `asyncio.Server.wait_closed` waits until
    all connections are closed.
    """
    if getattr(server, "force_exit", False):
        for connection in tuple(server.server_state.connections):
            connection.transport.abort()


async def _watch_server(server: Any, shutdown: ServerShutdown) -> None:
    """Begin the shutdown when the server stops without a signal: by its flag, or after its last request."""
    while not (server.should_exit or _stopped_listening(server)):  # noqa: ASYNC110 (a server has no event for it)
        await asyncio.sleep(SERVER_POLL_INTERVAL)
    shutdown.begin()


def _stopped_listening(server: Any) -> bool:
    """Whether the server no longer listens. False before it has begun to."""
    listeners = getattr(server, "servers", [])
    return bool(listeners) and not any(each.is_serving() for each in listeners)


# ---- the lifespan ----


class OpenApp(NamedTuple):
    """The open resources of one Fifoq in one app."""

    worker: Worker | None
    shutdown: ServerShutdown


def lifespan(tasks: Fifoq, worker: bool = False, then: Lifespan | None = None) -> Lifespan:
    """
    Return a lifespan for `FastAPI(lifespan=…)` that opens `tasks`, and with `worker=True` runs its jobs here.

    `then` is the app's own lifespan, or that of another Fifoq. It starts when `tasks` is open and before the worker
    claims anything, and ends after the worker: jobs can use its resources, and it may enqueue. At shutdown the server
    first ends its requests; the worker goes on claiming until then, so that requests which await results can finish,
    and has its grace period after that. Streams, and requests that wait for a job by `?wait=`, end at the server's
    signal.

        app = FastAPI(lifespan=lifespan(tasks, worker=True, then=open_database))
    """

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncGenerator[Mapping[str, Any]]:
        _warn_of_handlers(app)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(tasks)
            state = dict(await stack.enter_async_context(then(app)) or {}) if then else {}
            shutdown = stack.enter_context(ServerShutdown().handling_signals())
            embedded = await stack.enter_async_context(tasks.worker()) if worker else None
            if embedded is not None:
                shutdown.hurry = embedded.hurry
            apps = {**state.get(_STATE, {}), tasks: OpenApp(embedded, shutdown)}
            yield {**state, _STATE: apps}

    return run


def _warn_of_handlers(app: FastAPI) -> None:
    """Warn of handlers of `@app.on_event`: FastAPI runs none if the app has a lifespan."""
    handlers = [*app.router.on_startup, *app.router.on_shutdown]
    if handlers:
        names = ", ".join(getattr(each, "__name__", repr(each)) for each in handlers)
        warnings.warn(
            f"FastAPI does not run the handlers of @app.on_event if the app has a lifespan, as this one has: {names}. "
            "Move them into a lifespan of your own and pass that to fifoq's: lifespan(tasks, then=yours).",
            UserWarning,
            stacklevel=2,
        )


def open_app(request: Request, tasks: Fifoq) -> OpenApp | None:
    """Return the worker and shutdown of `tasks` in this app; None if the app was not started with `lifespan(tasks)`."""
    apps = cast("Mapping[Fifoq, OpenApp]", getattr(request.state, _STATE, {}))
    return apps.get(tasks)
