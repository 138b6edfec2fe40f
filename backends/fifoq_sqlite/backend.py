"""SQLite as a backend: `fifoq.queue.Backend`, on one file that many processes share."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fifoq.clock import Clock, HostClock
from fifoq.errors import BackendBusy, BackendUnavailable, ConfigurationError, FifoqError
from fifoq.fork_safety import unwatch_forks, watch_forks
from fifoq_sqlite.connection import Connection, refuse_inherited
from fifoq_sqlite.errors import busy, translate
from fifoq_sqlite.files import CommitMark, Folder, Lock, OpenFiles, prepare
from fifoq_sqlite.group_commit import GroupCommit, Thread
from fifoq_sqlite.notify import Changes, Listener, Notifier
from fifoq_sqlite.queue import SqliteQueue
from fifoq_sqlite.schema import advice, check_library
from fifoq_sqlite.session import Session
from fifoq_sqlite.transactions import Reader, StoreFiles, Writer
from fifoq_sqlite.url import Location

R = TypeVar("R")
OnChanges = Callable[[Changes], None]
"""Wakes the waiters that the changes concern."""

POLL_INTERVAL = 0.25
"""Seconds between two polls for changes whose notifications were lost, while there are waiters."""
POLLS_PER_END = 4
"""Once in so many polls, the waiters for the ends of jobs read their jobs again."""


class SqliteBackend:
    """
    A store of queues in one file, for any number of processes of one host; not over a network file system.

        SqliteBackend("sqlite:///jobs.db")
        SqliteBackend("sqlite:////var/lib/jobs.db?synchronous=normal&timeout=10")

    Raises ConfigurationError for a malformed URL.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._url = url
        self._location = Location.parse(url)
        self._clock = clock
        self._queues: dict[str, SqliteQueue] = {}
        self._store: OpenStore | None = None
        self._polling: asyncio.Task[None] | None = None
        self._forked = False

    def __repr__(self) -> str:
        return f"<SqliteBackend {self._location.path}>"

    async def open(self) -> None:
        """
        Make the file if it does not exist, readable by its owner only, and bring it to this version's schema.

        Raises ConfigurationError if a newer fifoq made it, BackendCorrupt if it is no store, BackendReadOnly,
        BackendBusy, BackendFull or BackendUnavailable.
        """
        if self._store is not None:
            return
        check_library()
        self._store = await OpenStore.open(self._location, self._clock or HostClock(), self._on_changes)
        self._forked = False
        watch_forks(self)

    async def close(self) -> None:
        """Close both connections, their threads and all files, once the calls under way are done."""
        store, self._store = self._store, None
        unwatch_forks(self)
        if self._polling is not None:
            self._polling.cancel()
        if store is not None:
            await store.close()

    def twin(self) -> "SqliteBackend":
        twin = SqliteBackend(self._url, clock=self._clock)
        twin._location = self._location  # the same file, even if the process has changed its folder since
        return twin

    def queue(self, name: str) -> SqliteQueue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = SqliteQueue(self, name)
        return queue

    async def queues(self) -> tuple[str, ...]:
        return await self.read(lambda session: tuple(name for (name,) in session.run("queue_names")))

    async def check(self) -> tuple[str, ...]:
        """Write to the store without a change; return advice about SQLite's version, the file and its folder."""
        store = self._open_store()
        await self.write(lambda session: session.run("store_touch"))
        return advice(store.path)

    def forked(self) -> None:
        """In a child after a fork: abandon all that belongs to the parent."""
        store, self._store = self._store, None
        self._forked = True
        self._polling = None
        if store is not None:
            store.abandon()

    # ---- for its queues ----

    def write(self, work: Callable[[Session], R], *, at_once: bool = False) -> "asyncio.Future[R]":
        store = self._store or self._open_store()
        return store.writes.submit(work, at_once=at_once)

    def read(self, work: Callable[[Session], R]) -> "asyncio.Future[R]":
        return self._open_store().reads.submit(work)

    def poll_changes(self) -> None:
        """Poll for changes whose notifications were lost, as long as a queue has waiters."""
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll(self._open_store()))

    async def _poll(self, store: "OpenStore") -> None:
        try:
            await self._poll_while_waiting(store)
        finally:
            self._polling = None

    async def _poll_while_waiting(self, store: "OpenStore") -> None:
        polls = 0
        while names := [name for name, queue in self._queues.items() if queue.waiters]:
            polls += 1
            for name, version in (await store.versions(names)).items():
                waiters = self._queues[name].waiters
                if waiters.update_version(version):
                    waiters.notify_changed()
                if polls % POLLS_PER_END == 0:
                    waiters.notify_any_ended()
            await asyncio.sleep(POLL_INTERVAL)

    def _open_store(self) -> "OpenStore":
        if self._store is not None:
            return self._store
        path = self._location.path
        if self._forked:
            raise ConfigurationError(
                f"{path} was open when this process was forked, and a SQLite connection must not be carried across a "
                "fork. Open a Fifoq in the child only, after the fork."
            )
        raise ConfigurationError(f"{path} is not open. Open it first, as `async with` on a Fifoq does.")

    def _on_changes(self, changes: Changes) -> None:
        """Wake the waiters that the changes concern."""
        for name, version in changes.versions.items():
            if name in self._queues:
                self._queues[name].waiters.update_version(version)
        for name in changes.woken:
            if name in self._queues:
                self._queues[name].waiters.notify_changed()
        for name, id in changes.ended:
            if name in self._queues:
                self._queues[name].waiters.notify_ended(id)


class OpenStore:
    """An open store, on one loop: a writing and a reading connection, and the files beside the store."""

    def __init__(self, location: Location, named: Path, clock: Clock, on_changes: OnChanges) -> None:
        """Open the files. `open` then opens the connections. `named` may lead to the location through links."""
        self.path = location.path
        self._timeout = location.timeout
        folder, new = prepare(self.path)
        with contextlib.ExitStack() as opened:
            opened.callback(folder.close)
            refuse_inherited(self.path)
            open_files = OpenFiles(self.path, folder.path, named)
            self._lock = Lock(folder)
            opened.callback(self._lock.close)
            self._mark = CommitMark(folder, flushes=location.synchronous == "full")
            opened.callback(self._mark.close)
            if new:
                self._mark.clear()
            self._listener, self._notifier = _pipes(folder, on_changes)
            opened.callback(self._notifier.close)
            self._close_files = opened.pop_all().close
        self._write_connection, self._read_connection = Connection(*location), Connection(*location)
        files = StoreFiles(self._lock, self._mark, self._notifier, open_files)
        self._writer = Writer(self._write_connection, location, files, clock)
        reader = Reader(location, clock)
        self.writes = GroupCommit(
            Thread(self._write_connection.post, self._writer.serve), self._timeout, self._busy, on_changes
        )
        self.reads = GroupCommit(
            Thread(self._read_connection.post, reader.serve), self._timeout, self._busy, on_changes
        )

    @classmethod
    async def open(cls, location: Location, clock: Clock, on_changes: OnChanges) -> "OpenStore":
        """Open the store, or leave nothing open. Raises only errors of fifoq."""
        if location.path.is_symlink() and not location.path.exists():
            raise BackendUnavailable(f"{location.path} is a link to nowhere. fifoq makes no file through a link.")
        named = location.path
        location = location._replace(path=named.resolve())
        store: OpenStore | None = None
        try:
            store = cls(location, named, clock, on_changes)
            await store._connect()
        except BaseException as error:
            if store is not None:
                await store.close()
            known = translate(error, location.path, location.timeout) if isinstance(error, Exception) else None
            raise known or error from error
        return store

    async def close(self) -> None:
        """Wait for the calls under way, then close everything. The writing connection is the last to close."""
        try:
            async with asyncio.timeout(self._timeout):
                await self.reads.drained()
                await self.writes.drained()
                await self._read_connection.leave(contextlib.nullcontext())
                # The last connection of a store folds the log into the file as it closes.
                await self._write_connection.leave(self._lock)
                for calls in (self.reads, self.writes):
                    calls.close()
        except TimeoutError:
            # Another process holds the lock, perhaps a stopped one. All committed transactions are safe in the log.
            closed = BackendUnavailable(f"{self.path} was closed while another process held its lock.")
            for calls in (self.reads, self.writes):
                calls.fail(closed)
            self._abandon_connections()
        finally:
            if self._listener is not None:
                self._listener.close()
            self._close_files()

    def abandon(self) -> None:
        """In a child after a fork: close the files, and leave alone all that belongs to the parent."""
        self._abandon_connections()
        for calls in (self.reads, self.writes):
            calls.abandon()
        if self._listener is not None:
            self._listener.close_files()
        self._close_files()

    async def versions(self, names: Sequence[str]) -> dict[str, int]:
        """Return the version of each of these queues, or nothing if the store cannot be read."""
        try:
            return await self.reads.submit(lambda session: _versions(session, names))
        except FifoqError:
            return {}

    async def _connect(self) -> None:
        await self._write_connection.enter()
        try:
            async with asyncio.timeout(self._timeout):
                await self._writer.prepare()
        except TimeoutError:
            self._abandon_connections()
            raise self._busy() from None
        except asyncio.CancelledError:
            # Its thread may wait for the lock, and a cancelled opening must not.
            self._abandon_connections()
            raise
        await self._read_connection.enter()

    def _abandon_connections(self) -> None:
        for connection in (self._read_connection, self._write_connection):
            connection.abandon()

    def _busy(self) -> BackendBusy:
        return busy(self.path, self._timeout)


def _pipes(folder: Folder, on_changes: OnChanges) -> tuple[Listener | None, Notifier]:
    """Open the pipes. If the folder has no pipes, or the loop cannot watch them, this process only polls."""
    try:
        listener = Listener(folder, on_changes)
    except (OSError, NotImplementedError):
        return None, Notifier(folder, "")
    return listener, Notifier(folder, listener.name)


def _versions(session: Session, names: Sequence[str]) -> dict[str, int]:
    states = {name: session.queue_state(name) for name in names}
    return {name: state.version if state else 0 for name, state in states.items()}
