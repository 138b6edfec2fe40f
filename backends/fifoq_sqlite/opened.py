"""All that an open backend holds: two connections with their threads and lanes, the lock, and the pipes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from fifoq.clock import Clock
from fifoq.errors import BackendError, BackendUnavailable
from fifoq_sqlite.connection import Connection
from fifoq_sqlite.faults import busy, named
from fifoq_sqlite.lane import Lane
from fifoq_sqlite.location import Location
from fifoq_sqlite.lock import Lock, prepare
from fifoq_sqlite.reader import Reader
from fifoq_sqlite.session import Session
from fifoq_sqlite.wake import Ear, Mouth, News
from fifoq_sqlite.writer import Writer

GLANCE = 0.25
"""Seconds between two looks for changes whose hints were lost, while somebody waits."""

Heard = Callable[[News | None], bool]
"""Pass news on to those who wait (None: something changed, nobody knows what); return whether anybody waits still."""


class Opened:
    """An open store, on one loop."""

    def __init__(self, location: Location, clock: Clock, heard: Heard) -> None:
        """Reach the files. `make` does the rest."""
        self._location = location
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._glance: asyncio.TimerHandle | None = None
        self._version = -1
        folder = prepare(location.path)
        self._lock = Lock(folder)
        self._connections = [Connection(*location) for _ in range(2)]
        self.writer = Writer(self._connections[0], location, self._lock, clock, self._tell)
        self._ear: Ear | None = None
        self._mouth: Mouth | None = None
        self._listen(folder)
        self.writing = Lane(self.writer, location.timeout, self._busy)
        self.reading = Lane(Reader(self._connections[1], location, clock), location.timeout, self._busy)

    @classmethod
    async def make(cls, location: Location, clock: Clock, heard: Heard) -> "Opened":
        """Open the store, or leave nothing open. Raises errors of fifoq alone."""
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
        if self._glance is not None:
            self._glance.cancel()
        try:
            async with asyncio.timeout(self._location.timeout):
                await self.reading.drained()
                await self.writing.drained()
                await self._connections[1].leave()
                await self.writer.close()
        except TimeoutError:
            self._give_up()
        finally:
            self._drop()

    def abandon(self) -> None:
        """In a child after fork: keep hands off what is the parent's."""
        for connection in self._connections:
            connection.abandon()
        self._lock.close()
        if self._ear is not None:
            self._ear.drop()
        if self._mouth is not None:
            self._mouth.close()

    def glance(self) -> None:
        """Somebody waits: from now on, look every now and then whether the store has changed."""
        if self._glance is None:
            self._glance = self._loop.call_later(GLANCE, self._look)
"""placeholder"""
