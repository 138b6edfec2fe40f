"""
Group commit: the calls of one connection, batched into transactions.

Calls that arrive while the connection's thread is busy wait, and then share one hop to the thread and one transaction.
A call returns only after its transaction.
"""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from fifoq.errors import BackendError
from fifoq_sqlite.notify import Changes
from fifoq_sqlite.session import Session

R = TypeVar("R")
Work = Callable[[Session], Any]
"""The work of one call within a transaction."""


class PendingCall:
    """A call that waits for its transaction or runs in it."""

    __slots__ = ("error", "future", "since", "value", "work")

    def __init__(self, work: Work, future: "asyncio.Future[Any]", since: float) -> None:
        self.work = work
        self.future = future
        self.since = since
        self.value: Any = None
        self.error: Exception | None = None

    def resolve(self) -> None:
        """Give the caller the value or the error, if it still waits."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)


class Batch:
    """The calls of one transaction. Either the thread begins it, or the loop gives it up: never both."""

    def __init__(self, calls: Sequence[PendingCall]) -> None:
        self.calls = calls
        self.take: Callable[[], bool] = partial(threading.Lock().acquire, False)
        """Return True to the first caller, False to the second."""

    def fail(self, error: Exception) -> None:
        for call in self.calls:
            call.error = error


Done = Callable[[Changes | None], object]
Serve = Callable[[Batch, Done, sqlite3.Connection], None]
"""Runs a batch, so that its calls have their values or errors, and then calls `Done` with the changes, if any."""


class Thread(NamedTuple):
    """The thread of the connection, as GroupCommit uses it."""

    post: Callable[[Callable[[sqlite3.Connection], None]], None]
    """Has a function run in the thread."""
    serve: Serve
    """Is run there for each batch."""


class GroupCommit:
    """The calls of one connection, on one loop."""

    def __init__(
        self, thread: Thread, timeout: float, busy: Callable[[], BackendError], on_changes: Callable[[Changes], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._post, self._serve = thread
        self._timeout = timeout
        self._busy_error = busy
        self._on_changes = on_changes
        self._waker = LoopWaker(self._finish)
        self._waiting: list[PendingCall] = []
        self._running: Batch | None = None
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.Event | None = None
        """Set once no call waits or runs, if `drained` waits for that."""

    def submit(self, work: Callable[[Session], R], *, at_once: bool = False) -> "asyncio.Future[R]":
        """
        Run `work` in the next transaction; the future has its result once the transaction is committed.

        If no batch runs, the transaction begins at the end of this turn of the loop, for the other calls of the turn to
        join it; with `at_once` it begins now.

        A call that is cancelled before its transaction began has no effect. Raises BackendBusy if the lock cannot be
        taken in time, and then there was no effect either.
        """
        call = PendingCall(work, self._loop.create_future(), self._loop.time())
        if self._running is not None or self._scheduled:
            self._waiting.append(call)
        elif at_once:
            self._begin([call])
        else:
            self._waiting.append(call)
            self._scheduled = True
            self._loop.call_soon(self._begin_waiting)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._time_out)
        return call.future

    async def drained(self) -> None:
        """Return once no call waits or runs."""
        while self._running is not None or self._waiting:
            self._idle = asyncio.Event()
            await self._idle.wait()

    def fail(self, error: Exception) -> None:
        """Fail all calls: the thread does not return."""
        for call in [*(self._running.calls if self._running else ()), *self._waiting]:
            call.error = error
            call.resolve()
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._waker.stop()

    def close(self) -> None:
        """Close the way back from the thread, which is idle. Idempotent."""
        self._waker.stop()
        self._waker.close()

    def abandon(self) -> None:
        """In a child after a fork: close the files, and leave the loop alone, which is the parent's."""
        self._waker.close()

    def _begin_waiting(self) -> None:
        self._scheduled = False
        waiting, self._waiting = self._waiting, []
        calls = [call for call in waiting if not call.future.done()]
        if calls:
            self._begin(calls)
        elif self._idle is not None:
            self._idle.set()

    def _begin(self, calls: Sequence[PendingCall]) -> None:
        batch = self._running = Batch(calls)
        self._post(partial(self._serve, batch, partial(self._waker.wake, batch)))

    def _finish(self, batch: Batch, changes: Changes | None) -> None:
        self._running = None
        if changes is not None:
            self._on_changes(changes)
        for call in batch.calls:
            call.resolve()
        if self._waiting or self._idle is not None:
            self._begin_waiting()

    def _time_out(self) -> None:
        """Fail the calls that have waited too long for the lock."""
        self._timer = None
        latest = self._loop.time() - self._timeout
        running = self._running
        if running is not None and running.calls[0].since <= latest and running.take():
            running.fail(self._busy_error())
            for call in running.calls:
                call.resolve()
        for call in self._waiting:
            if call.since <= latest and not call.future.done():
                call.error = self._busy_error()
                call.resolve()
        if running is not None or self._waiting:
            self._timer = self._loop.call_later(self._timeout / 4, self._time_out)


class LoopWaker:
    """
    Calls a callback on the loop from any thread: once for each wake, in order.

    It wakes the loop through an eventfd, if the system and the loop have that, else by `call_soon_threadsafe`.
    """

    def __init__(self, callback: Callable[..., object]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._pending: deque[tuple[Any, ...]] = deque()
        self._file = -1
        if hasattr(os, "eventfd"):
            self._file = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            try:
                self._loop.add_reader(self._file, self._call_back)
            except NotImplementedError:
                self.close()

    def wake(self, *arguments: Any) -> None:
        """Have `callback(*arguments)` called on the loop. Has no effect once the loop is closed."""
        self._pending.append(arguments)
        if self._file >= 0:
            os.eventfd_write(self._file, 1)
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._call_back)

    def stop(self) -> None:
        """Make no more calls. A thread may still wake, so the file stays open as long as this object lives."""
        if self._file >= 0 and not self._loop.is_closed():
            self._loop.remove_reader(self._file)

    def close(self) -> None:
        """Close the file: no thread wakes any more. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.close()

    def _call_back(self) -> None:
        if self._file >= 0:
            try:  # noqa: SIM105 (it would take four calls more, for every callback)
                os.eventfd_read(self._file)
            except BlockingIOError:
                pass
        while self._pending:
            self._callback(*self._pending.popleft())
