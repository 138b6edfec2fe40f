"""SQLite as a backend: `fifoq.queue.Backend`, on one file that many processes share."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakSet

from fifoq.clock import Clock, HostClock
from fifoq.errors import BackendError, ConfigurationError, FifoqError
from fifoq_sqlite.connection import Connection
from fifoq_sqlite.faults import busy, named
from fifoq_sqlite.lane import Lane
from fifoq_sqlite.location import Location
from fifoq_sqlite.lock import Lock, prepare
from fifoq_sqlite.queue import SqliteQueue
from fifoq_sqlite.reader import Reader
from fifoq_sqlite.replies import Replies
from fifoq_sqlite.schema import check_library
from fifoq_sqlite.session import Session
from fifoq_sqlite.statements import load
from fifoq_sqlite.wake import Ear, Mouth, News
from fifoq_sqlite.writer import Writer

R = TypeVar("R")

GLANCE = 0.25
"""Seconds between two looks for changes whose hints were lost, while somebody waits."""

_OPEN: "WeakSet[SqliteBackend]" = WeakSet()


class SqliteBackend:
    """
    A store of queues in one file.

        SqliteBackend("sqlite:///jobs.db")                       # beside the current directory
        SqliteBackend("sqlite:////var/lib/jobs.db?synchronous=normal")

    Any number of processes of one host may open it; not over a network file system. Raises ConfigurationError for a
    URL that is not understood.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._url = url
        self._location = Location.parse(url)
        self._clock = clock
        self._queues: dict[str, SqliteQueue] = {}
        self._opened: Opened | None = None
        self._forked = False

    def __repr__(self) -> str:
        return f"<SqliteBackend {self._location.path}>"

    async def open(self) -> None:
        """
        Make the file if it is not there, readable by its owner only, and bring it to this version's schema.

        Raises ConfigurationError if a newer fifoq made it, BackendCorrupt if it is no store, BackendReadOnly,
        BackendBusy, BackendFull or BackendUnavailable.
        """
        if self._opened is not None:
            return
        check_library()
        self._forked = False
        self._opened = await Opened.make(self._location, self._clock or HostClock(), self._heard)
        _OPEN.add(self)

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        _OPEN.discard(self)
        if opened is not None:
            await opened.close()

    def twin(self) -> "SqliteBackend":
        return SqliteBackend(self._url, clock=self._clock)

    def queue(self, name: str) -> SqliteQueue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = SqliteQueue(self, name)
        return queue

    async def queues(self) -> tuple[str, ...]:
        return await self.read(lambda session: tuple(name for (name,) in session.run("queue_names")))

    async def check(self) -> tuple[str, ...]:
        return ()

    # ---- for its queues

    @property
    def replies(self) -> Replies:
        return self._now_open().writer.replies

    async def write(self, work: Callable[[Session], R]) -> R:
        return await self._now_open().writing.submit(work)

    async def read(self, work: Callable[[Session], R]) -> R:
        return await self._now_open().reading.submit(work)

    def watching(self) -> None:
        self._now_open().glance()

    def _now_open(self) -> "Opened":
        if self._opened is not None:
            return self._opened
        if self._forked:
            raise ConfigurationError(
                f"{self._location.path} was opened before this process was forked. Open a Fifoq of its own here: "
                "a SQLite connection must not be carried across a fork."
            )
        raise ConfigurationError(f"{self._location.path} is not open: use `async with` around the Fifoq.")

    def _heard(self, news: News | None) -> None:
        """Pass on what was heard to those who wait; None: something changed, nobody knows what."""
        if news is None:
            for queue in self._queues.values():
                queue.watch.anything()
            return
        for name in news.woken:
            if name in self._queues:
                self._queues[name].watch.changed()
        for name, id in news.ended:
            if name in self._queues:
                self._queues[name].watch.ended([id])

    def _after_fork(self) -> None:
        opened, self._opened = self._opened, None
        self._forked = True
        if opened is not None:
            opened.abandon()
