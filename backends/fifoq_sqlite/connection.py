"""
A SQLite connection with a thread of its own, which runs posted functions: one hop to the thread and back for a batch.

It is built on aiosqlite's connection, whose own methods hop once per statement (some 55 µs each), and whose thread
would keep the interpreter from exiting while a connection is open. So aiosqlite opens the connection and makes the
thread, which then runs only our functions, until the connection is closed. No other file depends on the internals of
aiosqlite, and its version is pinned for them.
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
from fifoq.extras import unfit

R = TypeVar("R")
Function = Callable[[sqlite3.Connection], None]

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
"""Settings of a connection; none of them is stored in the file."""

log = logging.getLogger("fifoq.sqlite")


class Connection(aiosqlite.Connection):
    """A connection whose thread runs functions of ours."""

    def __init__(self, path: Path, synchronous: str, timeout: float) -> None:
        self._identity: Identity | None = None
        self._posted: SimpleQueue[Function | None] = SimpleQueue()
        self.post: Callable[[Function], None] = self._posted.put
        """Have a function run in the connection's thread. The function has to handle its own errors."""
        super().__init__(lambda: self._open(path, synchronous, timeout), 64)
        if not all(hasattr(self, part) for part in ("_thread", "_tx")) or not hasattr(type(self), "_conn"):
            raise unfit("aiosqlite")
        # An open connection must not keep the interpreter alive: a Fifoq that is never closed is no reason to hang.
        self._thread.daemon = True

    async def enter(self) -> None:
        """Open the connection. From now on its thread runs the posted functions, and no other requests of aiosqlite."""
        await self
        # Not a method: with a reference from its own thread, an unclosed connection would never be finalized and warn.
        self._tx.put_nowait((None, partial(_serve, self._posted, self._conn)))  # pyright: ignore[reportUnknownMemberType]

    async def run(self, function: Callable[[sqlite3.Connection], R]) -> R:
        """Run `function` in the connection's thread: one hop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()

        def resolve(value: R | None, error: BaseException | None) -> None:
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
            # If the loop is closed by now, its callers are gone too.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(resolve, value, error)

        self.post(call)
        return await future

    async def leave(self, lock: AbstractContextManager[None]) -> None:
        """Close the connection, holding `lock`, and end the thread. Idempotent."""
        if self._connection is None:
            if not self._running and self._thread.is_alive():
                # It could not be opened: aiosqlite has asked the thread to end, and the thread reports to this loop.
                self._thread.join(1.0)
            return

        def close(connection: sqlite3.Connection) -> None:
            with lock:
                connection.close()
            if self._identity is not None:
                _remove_open_file(self._identity)

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
        Forget the connection without closing it, as in a child after a fork, where it is the parent's.

        By closing it, SQLite would release the parent's locks, or fold the log into a file that other processes write.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    def __del__(self) -> None:
        # Closing folds the log into the file, which must not happen outside fifoq's lock: a leak is better.
        if self._connection is not None:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=1)
            self.abandon()

    def _open(self, path: Path, synchronous: str, timeout: float) -> sqlite3.Connection:
        self._identity = _add_open_file(path)
        try:
            return _connect(path, synchronous, timeout)
        except BaseException:
            _remove_open_file(self._identity)
            raise


def _serve(posted: "SimpleQueue[Function | None]", connection: sqlite3.Connection) -> None:
    # In place of aiosqlite's own loop, which has two lines of debugging for each call: 1.5 of 30 µs.
    while (function := posted.get()) is not None:
        try:
            function(connection)
        except Exception:
            log.exception("A call on a SQLite connection failed, and its caller was not informed")


def _connect(path: Path, synchronous: str, timeout: float) -> sqlite3.Connection:
    # The file was made before. If it is gone by now, mode=rw keeps SQLite from making it again.
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


# ---- files that are open at a fork ----

Identity = tuple[int, int]
"""A file's device and inode, by which SQLite identifies it."""

# Lists, because their methods are atomic: connections are opened and closed in threads, and a fork waits for none.
_open_files: list[Identity] = []
_inherited: list[Identity] = []


def refuse_inherited(path: Path) -> None:
    """Raise ConfigurationError if a parent of this process had the file open when it forked."""
    if _identity(path) in _inherited:
        raise ConfigurationError(
            f"{path} was open when this process was forked, and SQLite's locks do not work in such a child: its "
            "writes could be lost. Fork before a Fifoq is opened, or close it before; or start processes with the "
            "method 'spawn' or 'forkserver'."
        )


def _add_open_file(path: Path) -> Identity:
    """Record that a connection is about to be opened, until `_remove_open_file` is called."""
    identity = _identity(path)
    _open_files.append(identity)
    return identity


def _remove_open_file(identity: Identity) -> None:
    """Record that a connection is closed, or could not be opened. An abandoned connection is never closed."""
    _open_files.remove(identity)


def _identity(path: Path) -> Identity:
    found = path.stat()
    return found.st_dev, found.st_ino


def _forked() -> None:
    _inherited.extend(_open_files)
    _open_files.clear()


os.register_at_fork(after_in_child=_forked)
