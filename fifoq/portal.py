"""
A portal for threads into an event loop.

`hop` runs a coroutine on the loop of another thread; `Portal` owns a loop in a thread of its own.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from fifoq.errors import OutcomeUnknown

R = TypeVar("R")

CHECK_INTERVAL = 0.5
"""Seconds after which a waiting thread checks that the loop is still open: a closed loop never sets the result."""

CLOSE_TIMEOUT = 10.0
"""Seconds that the end of the process waits for the portal to close."""


class LoopGone(Exception):
    """The loop ended before it began with the work: nothing was done."""


def hop(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """
    Run `work()` on `loop`, which another thread runs, and return its result.

    When the caller is interrupted, the work is cancelled. Raises LoopGone, or OutcomeUnknown if the loop ended midway.
    """
    begun = False

    async def begin() -> R:
        nonlocal begun
        begun = True
        return await work()

    coroutine = begin()
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError as error:
        coroutine.close()
        raise LoopGone from error
    try:
        return _wait(future, loop)
    except CancelledError as error:
        if not begun:
            coroutine.close()
            raise LoopGone from error
        raise OutcomeUnknown(
            "The event loop ended while it worked on this call, which may have taken effect. It is safe to repeat with "
            "the same job id."
        ) from error
    except BaseException:
        future.cancel()
        raise


def _wait(future: "Future[R]", loop: asyncio.AbstractEventLoop) -> R:
    while True:
        try:
            return future.result(CHECK_INTERVAL)
        except TimeoutError:
            if future.done():  # the work raised it, not the wait
                raise
            if loop.is_closed():
                raise CancelledError from None


class Portal:
    """
    An event loop in a daemon thread, started at its first use.

    When the main thread has ended, the portal runs `close` on that loop: an open backend may have threads of its own,
    and those would keep the process from ending.
    """

    def __init__(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._close = close
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop. A forked child starts its own: a fork does not copy the thread of the parent's loop."""
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._pid = _start(), os.getpid()
                threading.Thread(target=self._close_at_exit, args=(self._loop,), name="fifoq-portal-end").start()
            return self._loop

    def owns(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether that is this portal's loop."""
        return loop is self._loop

    def _close_at_exit(self, loop: asyncio.AbstractEventLoop) -> None:
        threading.main_thread().join()
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._close(), loop).result(CLOSE_TIMEOUT)


def _start() -> asyncio.AbstractEventLoop:
    started: Future[asyncio.AbstractEventLoop] = Future()

    async def run() -> None:
        started.set_result(asyncio.get_running_loop())
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(run()), name="fifoq-portal", daemon=True).start()
    return started.result()
