"""All that an open backend holds: two connections with their threads and lanes, the lock, and the pipes."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fifoq.clock import Clock
from fifoq.errors import BackendBusy, BackendUnavailable, FifoqError
from fifoq_sqlite.connection import Connection
from fifoq_sqlite.faults import busy, named
from fifoq_sqlite.inherited import refuse_inherited
from fifoq_sqlite.lane import Lane, Thread
from fifoq_sqlite.location import Location
from fifoq_sqlite.lock import Lock, prepare
from fifoq_sqlite.mark import Mark
from fifoq_sqlite.reader import Reader
from fifoq_sqlite.session import Session
from fifoq_sqlite.wake import Ear, Mouth, News
from fifoq_sqlite.writer import Beside, Writer

Heard = Callable[[News], None]
"""Pass news on to those who wait."""


class Opened:
    """An open store, on one loop."""

    def __init__(self, location: Location, clock: Clock, heard: Heard) -> None:
        """Reach the files. `make` does the rest."""
        self.path = location.path
        self._timeout = location.timeout
        self._heard = heard
        folder, new = prepare(self.path)
        refuse_inherited(self.path)
        self._file = self.path.stat()
        self._lock = Lock(folder)
        self._mark = Mark(folder, flushes=location.synchronous == "full")
        if new:
            self._mark.clear()
        self._ear, self._mouth = _pipes(folder, heard)
        self._writes, self._reads = Connection(*location), Connection(*location)
        self.writer = Writer(self._writes, location, Beside(self._lock, self._mark, self._mouth), clock)
        reader = Reader(location, clock)
        self.writing = Lane(Thread(self._writes.post, self.writer.serve), self._timeout, self._busy, heard)
        self.reading = Lane(Thread(self._reads.post, reader.serve), self._timeout, self._busy, heard)

    @classmethod
    async def make(cls, location: Location, clock: Clock, heard: Heard) -> "Opened":
        """Open the store, or leave nothing open. Raises errors of fifoq alone."""
        if location.path.is_symlink() and not location.path.exists():
            raise BackendUnavailable(f"{location.path} is a link to nowhere. fifoq makes no file through a link.")
        location = location._replace(path=location.path.resolve())
        opened: Opened | None = None
        try:
            opened = cls(location, clock, heard)
            await opened._connect()
        except BaseException as error:
            if opened is not None:
                await opened.close()
            known = named(error, location.path, location.timeout) if isinstance(error, Exception) else None
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
                for lane in (self.reading, self.writing):
                    lane.close()
        except TimeoutError:
            # A process that is stopped holds the lock. What is committed is safe in the log.
            gone = BackendUnavailable(f"{self.path} was closed while another process held its lock.")
            for lane in (self.reading, self.writing):
                lane.fail(gone)
            self._give_up()
        finally:
            self._let_go()
            if self._ear is not None:
                self._ear.close()

    def abandon(self) -> None:
        """In a child after fork: keep hands off what is the parent's."""
        self._give_up()
        self._let_go()
        for lane in (self.reading, self.writing):
            lane.drop()
        if self._ear is not None:
            self._ear.drop()

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
        for file in (self._lock, self._mark, self._mouth):
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


def _pipes(folder: Path, heard: Heard) -> tuple[Ear | None, Mouth]:
    """Where a folder takes no pipes, or the loop cannot watch them, this process looks for changes instead."""
    try:
        ear = Ear(folder, heard)
    except (OSError, NotImplementedError):
        return None, Mouth(folder, "")
    return ear, Mouth(folder, ear.name)


def _versions(session: Session, names: Sequence[str]) -> dict[str, int]:
    books = {name: session.book(name) for name in names}
    return {name: book.version if book else 0 for name, book in books.items()}
