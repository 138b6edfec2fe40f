"""SQLite as a backend: `fifoq.queue.Backend`, on one file that many processes share."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fifoq.clock import Clock, HostClock
from fifoq.errors import BackendBusy, BackendUnavailable, ConfigurationError, FifoqError
from fifoq.fork_safety import unwatch_forks, watch_forks
from fifoq_sqlite.connection import Connection, refuse_inherited
from fifoq_sqlite.errors import busy, translate
from fifoq_sqlite.files import CommitMark, Lock, prepare
from fifoq_sqlite.group_commit import GroupCommit, Thread
from fifoq_sqlite.notify import Changes, Listener, Notifier
from fifoq_sqlite.queue import SqliteQueue
from fifoq_sqlite.schema import advice, check_library
from fifoq_sqlite.session import Session
from fifoq_sqlite.transactions import Reader, StoreFiles, Writer
from fifoq_sqlite.url import Location

OnChanges = Callable[[Changes], None]
"""Pass changes on to those who wait."""


class OpenStore:
    """An open store, on one loop."""

    def __init__(self, location: Location, clock: Clock, on_changes: OnChanges) -> None:
        """Reach the files. `make` does the rest."""
        self.path = location.path
        self._timeout = location.timeout
        self._on_changes = on_changes
        folder, new = prepare(self.path)
        refuse_inherited(self.path)
        self._file = self.path.stat()
        self._lock = Lock(folder)
        self._mark = CommitMark(folder, flushes=location.synchronous == "full")
        if new:
            self._mark.clear()
        self._listener, self._notifier = _pipes(folder, on_changes)
        self._writes, self._reads = Connection(*location), Connection(*location)
        self.writer = Writer(self._writes, location, StoreFiles(self._lock, self._mark, self._notifier), clock)
        reader = Reader(location, clock)
        self.writing = GroupCommit(Thread(self._writes.post, self.writer.serve), self._timeout, self._busy, on_changes)
        self.reading = GroupCommit(Thread(self._reads.post, reader.serve), self._timeout, self._busy, on_changes)

    @classmethod
    async def make(cls, location: Location, clock: Clock, on_changes: OnChanges) -> "OpenStore":
        """Open the store, or leave nothing open. Raises errors of fifoq alone."""
        if location.path.is_symlink() and not location.path.exists():
            raise BackendUnavailable(f"{location.path} is a link to nowhere. fifoq makes no file through a link.")
        location = location._replace(path=location.path.resolve())
        opened: OpenStore | None = None
        try:
            opened = cls(location, clock, on_changes)
            await opened._connect()
        except BaseException as error:
            if opened is not None:
                await opened.close()
            known = translate(error, location.path, location.timeout) if isinstance(error, Exception) else None
            raise known or error from error
        return opened

    async def close(self) -> None:
        """Wait for what is under way, and let go of everything. The writing connection is the last to close."""
        try:
            async with asyncio.timeout(self._timeout):
                await self.reading.drained()
                await self.writing.drained()
                await self._reads.leave(contextlib.nullcontext())
                # The last connection of a store folds the log into the file as it closes.
                await self._writes.leave(self._lock)
                for calls in (self.reading, self.writing):
                    calls.close()
        except TimeoutError:
            # A process that is stopped holds the lock. What is committed is safe in the log.
            gone = BackendUnavailable(f"{self.path} was closed while another process held its lock.")
            for calls in (self.reading, self.writing):
                calls.fail(gone)
            self._give_up()
        finally:
            self._let_go()
            if self._listener is not None:
                self._listener.close()

    def abandon(self) -> None:
        """In a child after fork: keep hands off what is the parent's."""
        self._give_up()
        self._let_go()
        for calls in (self.reading, self.writing):
            calls.drop()
        if self._listener is not None:
            self._listener.drop()

    def still_there(self) -> None:
        """Raise BackendUnavailable if the file was removed or replaced since it was opened."""
        if not self.path.exists() or not os.path.samestat(self.path.stat(), self._file):
            raise BackendUnavailable(
                f"{self.path} was removed or replaced while it was open: what is written now goes to a file without a "
                "name. Restart all its processes."
            )

    async def versions(self, names: Sequence[str]) -> dict[str, int]:
        """How often each of these queues has been changed; nothing while the store cannot be read."""
        try:
            return await self.reading.submit(lambda session: _versions(session, names))
        except FifoqError:
            return {}

    def _give_up(self) -> None:
        for connection in (self._reads, self._writes):
            connection.abandon()

    def _let_go(self) -> None:
        for file in (self._lock, self._mark, self._notifier):
            file.close()

    async def _connect(self) -> None:
        await self._writes.enter()
        try:
            async with asyncio.timeout(self._timeout):
                await self.writer.prepare()
        except TimeoutError:
            self._give_up()
            raise self._busy() from None
        except asyncio.CancelledError:
            # Its thread may wait for the lock: whoever is told to stop while it opens must not.
            self._give_up()
            raise
        await self._reads.enter()

    def _busy(self) -> BackendBusy:
        return busy(self.path, self._timeout)


def _pipes(folder: Path, on_changes: OnChanges) -> tuple[Listener | None, Notifier]:
    """Where a folder takes no pipes, or the loop cannot watch them, this process looks for changes instead."""
    try:
        listener = Listener(folder, on_changes)
    except (OSError, NotImplementedError):
        return None, Notifier(folder, "")
    return listener, Notifier(folder, listener.name)


def _versions(session: Session, names: Sequence[str]) -> dict[str, int]:
    states = {name: session.queue_state(name) for name in names}
    return {name: state.version if state else 0 for name, state in states.items()}


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
        self._opened: OpenStore | None = None
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
        self._opened = await OpenStore.make(self._location, self._clock or HostClock(), self._on_changes)
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

    async def _glance(self, opened: OpenStore) -> None:
        try:
            await self._look_around(opened)
        finally:
            self._glancing = None

    async def _look_around(self, opened: OpenStore) -> None:
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

    def _opened_now(self) -> OpenStore:
        if self._opened is not None:
            return self._opened
        path = self._location.path
        if self._forked:
            raise ConfigurationError(
                f"{path} was open when this process was forked, and a SQLite connection must not be carried across a "
                "fork. Open a Fifoq in the child only, after the fork."
            )
        raise ConfigurationError(f"{path} is not open. Open it first, as `async with` on a Fifoq does.")

    def _on_changes(self, changes: Changes) -> None:
        """Pass changes on to those who wait."""
        for name, version in changes.versions.items():
            if name in self._queues:
                self._queues[name].watch.know(version)
        for name in changes.woken:
            if name in self._queues:
                self._queues[name].watch.changed()
        for name, id in changes.ended:
            if name in self._queues:
                self._queues[name].watch.ended(id)

    def forked(self) -> None:
        """This is a child: nothing of the parent's is used any more."""
        opened, self._opened = self._opened, None
        self._forked = True
        self._glancing = None
        if opened is not None:
            opened.abandon()
