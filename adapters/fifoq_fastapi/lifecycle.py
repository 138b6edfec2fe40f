"""The app's lifespan: opens the Fifoq, runs an embedded worker if asked to, and composes with the app's own."""

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
GLANCE = 0.25
"""Seconds between two looks at a server that can stop without a signal."""


class ServerShutdown:
    """
    Whether the server was told to stop.

    A server ends the lifespan only after its last response, so what would go on for as long as a client listens has to
    be told earlier: streams, and requests that wait for a job.
    """

    def __init__(self) -> None:
        self.told = False
        self.hurry: Callable[[], None] = _nothing
        """What to call when somebody does not want to wait."""
        self._limits: set[asyncio.Timeout] = set()
        self._server: Any = None
        """The uvicorn that hears the signals, if it is one."""

    def tell(self) -> None:
        """The server stops: end what can be ended, on the loop."""
        self.told = True
        for limit in tuple(self._limits):
            _end(limit)

    @contextmanager
    def cuts(self, limit: asyncio.Timeout) -> Generator[None]:
        """While inside, `limit` is over as soon as the server is told to stop."""
        if self.told:
            _end(limit)
        self._limits.add(limit)
        try:
            yield
        finally:
            self._limits.discard(limit)

    @contextmanager
    def listening(self) -> Generator[Self]:
        """
        Hear SIGINT and SIGTERM before the server does, which gets them all the same.

        A second SIGINT is from somebody who does not want to wait. A second SIGTERM is not: Ctrl-C in front of a server
        of several processes sends each of them both.
        Without a server that listens (tests, threads) nothing is touched.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        loop = asyncio.get_running_loop()
        before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
        chained = {number: handler for number, handler in before.items() if callable(handler)}
        self._server = _server_of(chained)
        watching = None
        if self._server is not None:
            watching = asyncio.create_task(_until_it_stops(self._server, self), name="fifoq: watches the server")
        heard = False

        def received(number: int, frame: FrameType | None) -> Any:
            nonlocal heard
            # Python runs this in the middle of anything: it does no more than wake the loop.
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._heard, number == signal.SIGINT and (heard or self.told))
            heard = True
            return chained[number](number, frame)

        for number in chained:
            signal.signal(number, received)
        try:
            yield self
        finally:
            if watching is not None:
                watching.cancel()
            for number, handler in chained.items():
                if signal.getsignal(number) is received:
                    signal.signal(number, handler)

    def _heard(self, impatient: bool) -> None:
        if impatient:
            self.hurry()
            _drop_clients(self._server)
        self.tell()


def _nothing() -> None:
    pass


def _end(limit: asyncio.Timeout) -> None:
    limit.reschedule(asyncio.get_running_loop().time())


def _server_of(handlers: dict[int, Any]) -> Any:
    """The uvicorn that hears these signals, or None."""
    server = next((each.__self__ for each in handlers.values() if hasattr(each, "__self__")), None)
    return server if hasattr(server, "should_exit") else None


def _drop_clients(server: Any) -> None:
    """
    Cut the open connections of a server that was told to stop at once.

    From CPython 3.12.1 on it would wait for them all the same: there `asyncio.Server.wait_closed` does what it says.
    """
    if getattr(server, "force_exit", False):
        for connection in tuple(server.server_state.connections):
            connection.transport.abort()


async def _until_it_stops(server: Any, ending: ServerShutdown) -> None:
    """It stops also by its flag, or after so many requests."""
    while not (server.should_exit or _closed(server)):  # noqa: ASYNC110 (a server has no event for it)
        await asyncio.sleep(GLANCE)
    ending.tell()


def _closed(server: Any) -> bool:
    """Whether it no longer listens. Before it has begun to, nothing is said."""
    listeners = getattr(server, "servers", [])
    return bool(listeners) and not any(each.is_serving() for each in listeners)


Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]
"""What `FastAPI(lifespan=…)` takes. It may yield a mapping: that becomes part of `request.state`."""

_STATE = "fifoq"


class Running(NamedTuple):
    """What a lifespan holds open."""

    worker: Worker | None
    ending: ServerShutdown


def lifespan(tasks: Fifoq, worker: bool = False, then: Lifespan | None = None) -> Lifespan:
    """
    Return a lifespan for `FastAPI(lifespan=…)` that opens `tasks`, and with `worker=True` runs its jobs here.

    `then` is the app's own lifespan, or that of another Fifoq. It starts when `tasks` is open and before the worker
    claims anything, and ends after the worker: jobs find what it set up, and it may enqueue. At shutdown the server
    first ends its requests; the worker goes on claiming until then, so that those which await results can finish, and
    has its grace period after that. Streams, and requests that wait for a job by `?wait=`, end at the server's signal.

        app = FastAPI(lifespan=lifespan(tasks, worker=True, then=open_database))
    """

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncGenerator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(tasks)
            state = dict(await stack.enter_async_context(then(app)) or {}) if then else {}
            ending = stack.enter_context(ServerShutdown().listening())
            embedded = await stack.enter_async_context(tasks.worker()) if worker else None
            if embedded is not None:
                ending.hurry = embedded.hurry
            held = {**state.get(_STATE, {}), tasks: Running(embedded, ending)}
            yield {**state, _STATE: held}

    return run


def running(request: Request, tasks: Fifoq) -> Running | None:
    """Return what this app's lifespan holds open of `tasks`; None if it was not run, or is not `lifespan`."""
    held = cast("Mapping[Fifoq, Running]", getattr(request.state, _STATE, {}))
    return held.get(tasks)
