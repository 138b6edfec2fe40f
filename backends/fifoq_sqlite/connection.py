"""
aiosqlite's connection with its thread, used for whole batches: one hop to the thread and back, whatever is done there.

aiosqlite's own methods hop once per statement (some 55 µs each), and its thread would keep the interpreter from exiting
while a connection is open. So aiosqlite opens the connection and owns the thread, which from then on is ours: it does
what is posted, until the connection is left. This is the only place that knows aiosqlite's inside, and the version is
pinned for it.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar, cast
from urllib.parse import quote

import aiosqlite

from fifoq.errors import ConfigurationError

Identity = tuple[int, int]
"""A file's device and inode: by these SQLite knows it."""

# Lists, because their methods are atomic: connections are opened and closed in threads, and a fork waits for none.
_open_files: list[Identity] = []
_inherited: list[Identity] = []


def opening(path: Path) -> Identity:
    """Note that a connection is about to be opened, as long as `closed` is not called."""
    identity = _identity(path)
    _open_files.append(identity)
    return identity


def closed(identity: Identity) -> None:
    """Note that a connection is closed, or was never opened. One that was abandoned is never closed."""
    _open_files.remove(identity)


def refuse_inherited(path: Path) -> None:
    """Raise ConfigurationError if a parent of this process had the file open when it forked."""
    if _identity(path) in _inherited:
        raise ConfigurationError(
            f"{path} was open when this process was forked, and SQLite's locks do not work in such a child: what it "
            "stores could be lost. Fork before a Fifoq is opened, or close it before; or start processes with the "
            "method 'spawn' or 'forkserver'."
        )


def _identity(path: Path) -> Identity:
    found = path.stat()
    return found.st_dev, found.st_ino


def _forked() -> None:
    _inherited.extend(_open_files)
    _open_files.clear()


os.register_at_fork(after_in_child=_forked)


R = TypeVar("R")
Function = Callable[[sqlite3.Connection], None]

log = logging.getLogger("fifoq.sqlite")

# Of this connection alone; none of them is stored in the file.
_PRAGMAS = (
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA secure_delete = OFF",
    "PRAGMA cache_size = -16000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA mmap_size = 0",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)


class Connection(aiosqlite.Connection):
    """A connection whose thread runs functions of ours."""

    def __init__(self, path: Path, synchronous: str, timeout: float) -> None:
        self._identity: Identity | None = None
        self._posted: SimpleQueue[Function | None] = SimpleQueue()
        self.post: Callable[[Function], None] = self._posted.put
        """Have a function run in the connection's thread. It must see to its own errors."""
        super().__init__(lambda: self._open(path, synchronous, timeout), 64)
        # An open connection must not keep the interpreter alive: a never closed Fifoq is no reason to hang.
        self._thread.daemon = True

    async def enter(self) -> None:
        """Open the connection. From now on its thread does what is posted, and nothing that aiosqlite asks of it."""
        await self
        # Not a method: its thread must not hold a connection that nobody else does, or nobody hears it was not closed.
        self._tx.put_nowait((None, partial(_serve, self._posted, self._conn)))  # pyright: ignore[reportUnknownMemberType]

    async def run(self, function: Callable[[sqlite3.Connection], R]) -> R:
        """Run `function` in the connection's thread: one hop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()

        def settle(value: R | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(cast("R", value))

        def call(connection: sqlite3.Connection) -> None:
            value, error = None, None
            try:
                value = function(connection)
            except BaseException as caught:
                error = caught
            # The loop may be closed by now: then nobody waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, value, error)

        self.post(call)
        return await future

    async def leave(self, lock: AbstractContextManager[None]) -> None:
        """Close the connection, holding `lock`, and end the thread. Idempotent."""
        if self._connection is None:
            if not self._running and self._thread.is_alive():
                # It could not be opened: aiosqlite has asked the thread to end, and it answers to this loop.
                self._thread.join(1.0)
            return

        def close(connection: sqlite3.Connection) -> None:
            with lock:
                connection.close()
            if self._identity is not None:
                closed(self._identity)

        try:
            await self.run(close)
        except (sqlite3.Error, OSError):
            self.abandon()
        self._connection = None
        self._posted.put(None)
        stopped = cast("asyncio.Future[Any] | None", self.stop())  # pyright: ignore[reportUnknownMemberType]
        if stopped is not None:
            await stopped
        self._thread.join(1.0)

    def abandon(self) -> None:
        """
        Forget the connection without closing it: in a child after fork it is the parent's.

        SQLite would let go of the parent's locks, or fold the log into a file that others write.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    def __del__(self) -> None:
        # Closing folds the log into the file, which must not happen outside fifoq's lock: better to leak.
        if self._connection is not None:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=1)
            self.abandon()

    def _open(self, path: Path, synchronous: str, timeout: float) -> sqlite3.Connection:
        self._identity = opening(path)
        try:
            return _open(path, synchronous, timeout)
        except BaseException:
            closed(self._identity)
            raise


def _serve(posted: "SimpleQueue[Function | None]", connection: sqlite3.Connection) -> None:
    # In place of aiosqlite's own loop, which has two lines of debugging for each call: 1.5 of 30 µs.
    while (function := posted.get()) is not None:
        try:
            function(connection)
        except Exception:
            log.exception("A call on a SQLite connection failed, and told nobody")


def _open(path: Path, synchronous: str, timeout: float) -> sqlite3.Connection:
    # The file is there by now; should it be gone, it is not to be made anew.
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    for pragma in (*_PRAGMAS, f"PRAGMA synchronous = {synchronous}"):
        connection.execute(pragma)
    return connection
