"""SQLite as a backend: `fifoq.queue.Backend`, on one file that many processes share."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from fifoq.clock import Clock, HostClock
from fifoq.errors import ConfigurationError
from fifoq.forking import unwatch_forks, watch_forks
from fifoq_sqlite.checking import advice
from fifoq_sqlite.location import Location
from fifoq_sqlite.opened import Opened
from fifoq_sqlite.queue import SqliteQueue
from fifoq_sqlite.schema import check_library
from fifoq_sqlite.session import Session
from fifoq_sqlite.wake import News

R = TypeVar("R")

GLANCE = 0.25
"""Seconds between two looks for changes whose hints were lost, while somebody waits."""
GLANCES_TO_END = 4
"""Every so many of them, also look whether awaited jobs have ended."""


class SqliteBackend:
    """
    A store of queues in one file, for any number of processes of one host; not over a network file system.

        SqliteBackend("sqlite:///jobs.db")
        SqliteBackend("sqlite:////var/lib/jobs.db?synchronous=normal&timeout=10")

    Raises ConfigurationError for a URL that is not understood.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._url = url
        self._location = Location.parse(url)
        self._clock = clock
        self._queues: dict[str, SqliteQueue] = {}
        self._opened: Opened | None = None
        self._glancing: asyncio.Task[None] | None = None
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
        self._opened = await Opened.make(self._location, self._clock or HostClock(), self._heard)
        self._forked = False
        watch_forks(self)

    async def close(self) -> None:
        """Let go of both connections, their threads and all files, once what is under way is done."""
        opened, self._opened = self._opened, None
        unwatch_forks(self)
        if self._glancing is not None:
            self._glancing.cancel()
        if opened is not None:
            await opened.close()

    def twin(self) -> "SqliteBackend":
        twin = SqliteBackend(self._url, clock=self._clock)
        twin._location = self._location  # the same file, wherever the process has gone since
        return twin

    def queue(self, name: str) -> SqliteQueue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = SqliteQueue(self, name)
        return queue

    async def queues(self) -> tuple[str, ...]:
        return await self.read(lambda session: tuple(name for (name,) in session.run("queue_names")))

    async def check(self) -> tuple[str, ...]:
        """Reach the store and write to it; return what is worth knowing of this library, the file and its folder."""
        opened = self._opened_now()
        opened.still_there()
        await self.write(lambda session: session.run("store_touch"))
        return advice(opened.path)

    # ---- for its queues

    def write(self, work: Callable[[Session], R], *, at_once: bool = False) -> "asyncio.Future[R]":
        opened = self._opened or self._opened_now()
        return opened.writing.submit(work, at_once=at_once)

    def read(self, work: Callable[[Session], R]) -> "asyncio.Future[R]":
        return self._opened_now().reading.submit(work)

    def watching(self) -> None:
        """Somebody waits: look every now and then for changes whose hints were lost."""
        if self._glancing is None:
            self._glancing = asyncio.create_task(self._glance(self._opened_now()))

    async def _glance(self, opened: Opened) -> None:
        try:
            await self._look_around(opened)
        finally:
            self._glancing = None

    async def _look_around(self, opened: Opened) -> None:
        glances = 0
        while names := [name for name, queue in self._queues.items() if queue.watch.waiting]:
            glances += 1
            for name, version in (await opened.versions(names)).items():
                watch = self._queues[name].watch
                if watch.know(version):
                    watch.changed()
                if glances % GLANCES_TO_END == 0:
                    watch.anything_ended()
            await asyncio.sleep(GLANCE)

    def _opened_now(self) -> Opened:
        if self._opened is not None:
            return self._opened
        path = self._location.path
        if self._forked:
            raise ConfigurationError(
                f"{path} was open when this process was forked, and a SQLite connection must not be carried across a "
                "fork. Open a Fifoq in the child only, after the fork."
            )
        raise ConfigurationError(f"{path} is not open. Open it first, as `async with` on a Fifoq does.")

    def _heard(self, news: News) -> None:
        """Pass news on to those who wait."""
        for name, version in news.versions.items():
            if name in self._queues:
                self._queues[name].watch.know(version)
        for name in news.woken:
            if name in self._queues:
                self._queues[name].watch.changed()
        for name, id in news.ended:
            if name in self._queues:
                self._queues[name].watch.ended(id)

    def forked(self) -> None:
        """This is a child: nothing of the parent's is used any more."""
        opened, self._opened = self._opened, None
        self._forked = True
        self._glancing = None
        if opened is not None:
            opened.abandon()
