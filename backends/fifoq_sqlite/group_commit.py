"""
Group commit: calls wait in a lane for the connection's thread, and all that came while it was busy go together.

One hop to the thread and one transaction serve them all. A call returns only after its transaction.
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


class LoopWaker:
    """Rung in a thread, answered on the loop: one answer for each ring, in order."""

    def __init__(self, answer: Callable[..., object]) -> None:
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._pending: deque[tuple[Any, ...]] = deque()
        self._file = -1
        if hasattr(os, "eventfd"):
            self._file = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            try:
                self._loop.add_reader(self._file, self._open)
            except NotImplementedError:
                self.drop()

    def wake(self, *arguments: Any) -> None:
        """Have `answer(*arguments)` called on the loop; from any thread. Nothing happens once the loop is closed."""
        self._pending.append(arguments)
        if self._file >= 0:
            os.eventfd_write(self._file, 1)
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._open)

    def stop(self) -> None:
        """Answer no more. A thread may still ring, so the file stays as long as anybody holds this."""
        if self._file >= 0 and not self._loop.is_closed():
            self._loop.remove_reader(self._file)

    def drop(self) -> None:
        """Let go of the file: no thread will ring. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.drop()

    def _open(self) -> None:
        if self._file >= 0:
            try:  # noqa: SIM105 (it would take four calls more, for every answer)
                os.eventfd_read(self._file)
            except BlockingIOError:
                pass
        while self._pending:
            self._answer(*self._pending.popleft())


R = TypeVar("R")
Work = Callable[[Session], Any]
"""What one call does within a transaction."""


class PendingCall:
    """One call in the lane."""

    __slots__ = ("error", "future", "since", "value", "work")

    def __init__(self, work: Work, future: "asyncio.Future[Any]", since: float) -> None:
        self.work = work
        self.future = future
        self.since = since
        self.value: Any = None
        self.error: Exception | None = None

    def settle(self) -> None:
        """Give the caller what came of it, if it still waits."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)


class Batch:
    """The calls of one transaction. Either its thread begins it, or its loop gives it up: never both."""

    def __init__(self, calls: Sequence[PendingCall]) -> None:
        self.calls = calls
        self.take: Callable[[], bool] = partial(threading.Lock().acquire, False)
        """Whether this is the first to ask."""

    def fail(self, error: Exception) -> None:
        for call in self.calls:
            call.error = error


Done = Callable[[Changes | None], object]


Serve = Callable[[Batch, Done, sqlite3.Connection], None]
"""Runs a batch; then its calls have their values or errors, and it calls `done` with what was changed."""


class Thread(NamedTuple):
    """The connection's thread, as the lane needs it."""

    post: Callable[[Callable[[sqlite3.Connection], None]], None]
    """Have a function run in the thread."""
    serve: Serve
    """To be run there."""


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
        self._watch: asyncio.TimerHandle | None = None
        self._idle: asyncio.Event | None = None
        """Somebody waits until no call waits or runs."""

    def submit(self, work: Callable[[Session], R], *, at_once: bool = False) -> "asyncio.Future[R]":
        """
        Do `work` in the next transaction; the future has what it returns, once that is committed.

        An idle lane waits for the end of this turn of the loop, for what else is called in it; not if `at_once`.

        A call that is cancelled before its transaction began does nothing. Raises BackendBusy if the lock is not to be
        had in time: nothing took effect.
        """
        call = PendingCall(work, self._loop.create_future(), self._loop.time())
        if self._running is not None or self._scheduled:
            self._waiting.append(call)
        elif at_once:
            self._begin([call])
        else:
            self._waiting.append(call)
            self._scheduled = True
            self._loop.call_soon(self._start)
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._look)
        return call.future

    async def drained(self) -> None:
        """Return once no call waits or runs."""
        while self._running is not None or self._waiting:
            self._idle = asyncio.Event()
            await self._idle.wait()

    def fail(self, error: Exception) -> None:
        """Give up on all calls: the thread will not come back."""
        for call in [*(self._running.calls if self._running else ()), *self._waiting]:
            call.error = error
            call.settle()
        self._waiting.clear()
        if self._watch is not None:
            self._watch.cancel()
        self._waker.stop()

    def close(self) -> None:
        """Let go of the way back from the thread, in which nothing runs. Idempotent."""
        self._waker.stop()
        self._waker.drop()

    def drop(self) -> None:
        """In a child after fork: the same, hands off the loop, which is the parent's."""
        self._waker.drop()

    def _start(self) -> None:
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
            call.settle()
        if self._waiting or self._idle is not None:
            self._start()

    def _look(self) -> None:
        """Give up the calls that have waited too long for the lock."""
        self._watch = None
        latest = self._loop.time() - self._timeout
        running = self._running
        if running is not None and running.calls[0].since <= latest and running.take():
            running.fail(self._busy_error())
            for call in running.calls:
                call.settle()
        for call in self._waiting:
            if call.since <= latest and not call.future.done():
                call.error = self._busy_error()
                call.settle()
        if running is not None or self._waiting:
            self._watch = self._loop.call_later(self._timeout / 4, self._look)
