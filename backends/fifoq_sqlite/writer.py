"""What the writing thread does: one batch, one lock, one transaction; then hints to the other processes."""

import logging
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from fifoq.clock import Clock
from fifoq.errors import BackendError, FifoqError
from fifoq.quick import quick
from fifoq_sqlite.checkpoint import Checkpoints
from fifoq_sqlite.connection import Connection
from fifoq_sqlite.faults import named
from fifoq_sqlite.lane import Batch, Done, Ticket
from fifoq_sqlite.location import Location
from fifoq_sqlite.lock import Lock
from fifoq_sqlite.mark import Mark
from fifoq_sqlite.replies import Replies
from fifoq_sqlite.schema import migrate
from fifoq_sqlite.session import Session
from fifoq_sqlite.wake import Mouth, News

_news = quick(News)


log = logging.getLogger("fifoq.sqlite")


class Beside(NamedTuple):
    """What lies beside the store's file, and is used by the writing thread alone."""

    lock: Lock
    mark: Mark
    mouth: Mouth


class Writer:
    """Runs batches on the one connection of this process that writes."""

    def __init__(self, connection: Connection, location: Location, beside: Beside, clock: Clock) -> None:
        self.replies = Replies()
        self._connection = connection
        self._location = location
        self._lock, self._mark, self._mouth = beside
        self._clock = clock
        self._checkpoints = Checkpoints(location.path)
        self._session: Session | None = None
        self._flushes = location.synchronous == "full"

    async def prepare(self) -> None:
        """Make the file a store of this version's schema, under the lock."""
        await self._connection.run(self._prepare)

    def __call__(self, batch: Batch, done: Done) -> None:
        self._connection.post(partial(self._serve, batch, done))

    # ---- in the thread

    def _serve(self, batch: Batch, done: Done, connection: sqlite3.Connection) -> None:
        session = self._session
        assert session is not None
        told = False
        try:
            with self._lock:
                news = self._transact(session, batch.tickets) if batch.decide() else None
                # The callers go on while this thread tidies up: that hides some 15 µs, and whole checkpoints.
                done(news)
                told = True
                if news is not None:
                    self._checkpoints.after_commit(connection)
            # Outside the lock: whoever is woken wants it next.
            if news is not None and (news.woken or news.ended):
                self._mouth.tell(news)
        except Exception as error:  # an OSError of the lock, or a fault of ours: the callers must hear of it
            if told:
                log.warning("%s could not be tidied up after a commit, which stands: %s", self._location.path, error)
                return
            batch.fail(self._named(error) or error)
            done(None)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise sqlite3.OperationalError("it cannot be switched to write-ahead logging")
            connection.execute("BEGIN IMMEDIATE")
            try:
                migrate(connection)
                self._mark.check(self._location.path, connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        self._session = Session(connection, self._clock)

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
        if not session.changes:
            return None
        return _news((session.woken, session.ended, {book.name: book.version for book in session.written}))

    def _attempt(self, session: Session, tickets: Sequence[Ticket]) -> None:
        committing = False
        try:
            session.begin()
            for ticket in tickets:
                self._work(session, ticket)
            if not session.changes and self._flushes:
                self._commit_lightly(session)
            else:
                self._save(session)
                committing = True
                session.commit()
                self._acknowledge(session)
            self.replies.committed()
        except BaseException as error:
            self.replies.rolled_back()
            session.roll_back()
            known = self._named(error, committing=committing) if isinstance(error, Exception) else None
            raise known or error from error

    def _work(self, session: Session, ticket: Ticket) -> None:
        ticket.error = None
        try:
            ticket.value = ticket.work(session)
        except FifoqError as error:
            # Refused before it changed anything, as overtaken.
            ticket.error = error

    def _save(self, session: Session) -> None:
        self.replies.save(session)
        session.write()

    def _acknowledge(self, session: Session) -> None:
        if session.written:
            book = session.written[-1]
            self._mark.write(book.id, book.version)

    def _commit_lightly(self, session: Session) -> None:
        """
        Write the time and the replies of calls that changed nothing else, without a flush.

        An idle worker's looks must cost nothing. Should power fail, nobody who was told is left to ask again.
        """
        session.commit()
        if not session.used():
            return
        session.connection.execute("PRAGMA synchronous = NORMAL")
        try:
            session.connection.execute("BEGIN IMMEDIATE")
            self._save(session)
            session.commit()
        finally:
            if session.connection.in_transaction:
                session.connection.execute("ROLLBACK")
            session.connection.execute("PRAGMA synchronous = FULL")

    def _named(self, error: Exception, *, committing: bool = False) -> BackendError | None:
        if isinstance(error, BackendError):
            return error
        return named(error, self._location.path, self._location.timeout, committing=committing)
