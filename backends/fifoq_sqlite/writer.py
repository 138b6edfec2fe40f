"""What the writing thread does: one batch, one lock, one transaction; then hints to the other processes."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from fifoq.clock import Clock
from fifoq.errors import BackendError, FifoqError
from fifoq_sqlite.checkpoint import Checkpoints
from fifoq_sqlite.connection import Connection
from fifoq_sqlite.faults import named
from fifoq_sqlite.lane import Batch, Ticket
from fifoq_sqlite.location import Location
from fifoq_sqlite.lock import Lock
from fifoq_sqlite.replies import Replies
from fifoq_sqlite.schema import migrate
from fifoq_sqlite.session import Session
from fifoq_sqlite.wake import News

Tell = Callable[[News], None]
"""Pass on what a transaction changed. Called in the writing thread, after the commit, outside the lock."""


class Writer:
    """Runs batches on the one connection of this process that writes."""

    def __init__(self, connection: Connection, location: Location, lock: Lock, clock: Clock, tell: Tell) -> None:
        self.replies = Replies()
        self._connection = connection
        self._location = location
        self._lock = lock
        self._clock = clock
        self._tell = tell
        self._checkpoints = Checkpoints(location.path)
        self._session: Session | None = None

    async def prepare(self) -> None:
        """Make the file a store of this version's schema, under the lock."""
        await self._connection.run(self._prepare)

    async def close(self) -> None:
        """Close the connection under the lock: the last one of a store folds the log into the file."""
        await self._connection.run(self._close)

    def __call__(self, batch: Batch, done: Callable[[], None]) -> None:
        def run(connection: sqlite3.Connection) -> None:
            try:
                self._run(batch, connection)
            except Exception as error:  # an OSError of the lock, or a fault of ours: the callers must hear of it
                batch.fail(self._named(error) or error)
            done()

        self._connection.post(run)

    # ---- in the thread

    def _prepare(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise sqlite3.OperationalError("it cannot be switched to write-ahead logging")
            connection.execute("BEGIN IMMEDIATE")
            try:
                migrate(connection, self._clock)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        self._session = Session(connection, self._clock)

    def _close(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            connection.close()

    def _run(self, batch: Batch, connection: sqlite3.Connection) -> None:
        session = self._session
        assert session is not None
        with self._lock:
            if not batch.decide():
                return
            news = self._transact(session, batch.tickets)
            if session.changes:
                self._checkpoints.after_commit(connection)
        if news:
            self._tell(news)

    def _transact(self, session: Session, tickets: Sequence[Ticket]) -> News | None:
        """
        Run the calls in one transaction. If one of them fails by its own fault, each gets one of its own.

        Returns what changed.
        """
        try:
            self._attempt(session, tickets)
        except Exception as error:
            known = self._named(error)
            if known is None and len(tickets) > 1:
                news = [self._transact(session, [ticket]) for ticket in tickets]
                return News.of(one for one in news if one)
            for ticket in tickets:
                ticket.error = known or error
            return None
        return News(session.woken, session.ended) if session.woken or session.ended else None

    def _attempt(self, session: Session, tickets: Sequence[Ticket]) -> None:
        committing = False
        try:
            session.begin()
            for ticket in tickets:
                ticket.error = None
                try:
                    ticket.value = ticket.work(session)
                except FifoqError as error:
                    # Refused before it changed anything, as overtaken.
                    ticket.error = error
            self.replies.save(session)
            session.write()
            committing = True
            session.commit()
            self.replies.committed(session)
        except BaseException as error:
            self.replies.rolled_back()
            session.roll_back()
            known = self._named(error, committing=committing) if isinstance(error, Exception) else None
            raise known or error from error

    def _named(self, error: Exception, *, committing: bool = False) -> BackendError | None:
        if isinstance(error, BackendError):
            return error
        return named(error, self._location.path, self._location.timeout, committing=committing)
