"""A way for threads into an event loop: into one that somebody else runs, or one in a thread of its own."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

R = TypeVar("R")


def hop(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """
    Run `work()` on `loop`, which another thread runs, and return what it returns.

    When the caller is interrupted, the work is cancelled.
    """
    future = asyncio.run_coroutine_threadsafe(work(), loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


class Portal:
    """An event loop in a daemon thread, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop. A forked child gets one of its own: its parent's thread is not there."""
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._pid = _start(), os.getpid()
            return self._loop

    def owns(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether that is this portal's loop."""
        return loop is self._loop


def _start() -> asyncio.AbstractEventLoop:
    started: Future[asyncio.AbstractEventLoop] = Future()

    async def run() -> None:
        started.set_result(asyncio.get_running_loop())
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(run()), name="fifoq-portal", daemon=True).start()
    return started.result()
