"""What the writing thread does: one batch, one lock, one transaction; then hints to the other processes."""

import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fifoq.clock import Clock
from fifoq.errors import BackendError, FifoqError
from fifoq.record import fast_constructor
from fifoq_sqlite.connection import Connection
from fifoq_sqlite.errors import translate
from fifoq_sqlite.files import CommitMark, Lock
from fifoq_sqlite.group_commit import Batch, Done, PendingCall
from fifoq_sqlite.notify import Changes, Notifier
from fifoq_sqlite.replies import save
from fifoq_sqlite.schema import migrate
from fifoq_sqlite.session import Session
from fifoq_sqlite.url import Location

ROWS = 10_000
"""Rows changed since the last checkpoint, at which the next is due."""
COMMITS = 1_000
"""Commits since the last checkpoint, at which the next is due."""
LARGE = 64 * 2**20
"""Bytes of the log at which a checkpoint is due whatever was changed, and at which the log is cut."""

PAUSE = 0.5
"""Seconds after which a log that could not be cut is tried again."""
LOOK = 8
"""The log's size is looked at after every so many commits."""


class Checkpoints:
    """When to fold the log into the file, as the writing thread sees it after each commit, under the lock."""

    def __init__(self, path: Path) -> None:
        self._log = f"{path}-wal"
        self._from = 0
        self._commits = 0
        self._large = False
        self._again = 0.0
        """When the log may be cut next: a long reader may be in the way."""

    def due(self, connection: sqlite3.Connection) -> bool:
        """Whether one is, after one commit more."""
        self._commits += 1
        if self._commits % LOOK == 0:
            self._large = self._size() >= LARGE and time.monotonic() >= self._again
        return self._large or self._commits >= COMMITS or connection.total_changes - self._from >= ROWS

    def run(self, connection: sqlite3.Connection) -> None:
        """Checkpoint. Waits for nobody; what a reader holds back is folded later."""
        large, self._large = self._large, False
        self._from, self._commits = connection.total_changes, 0
        try:
            _, frames, folded = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if large and not (frames == folded and self._cut(connection)):
                self._again = time.monotonic() + PAUSE
        except sqlite3.OperationalError:
            # No room in the file, or a lock: the commits are safe in the log, and the next checkpoint may do it.
            self._again = time.monotonic() + PAUSE

    def _cut(self, connection: sqlite3.Connection) -> bool:
        """Cut the log to nothing, unless a reader is still in it; return whether it was."""
        timeout = connection.execute("PRAGMA busy_timeout").fetchone()[0]
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(timeout)}")
        return not busy

    def _size(self) -> int:
        try:
            return os.stat(self._log).st_size
        except OSError:
            return 0


class Reader:
    """Runs batches on a connection that only reads."""

    def __init__(self, location: Location, clock: Clock) -> None:
        self._location = location
        self._clock = clock
        self._session: Session | None = None

    def serve(self, batch: Batch, done: Done, connection: sqlite3.Connection) -> None:
        """See `fifoq_sqlite.lane.Serve`."""
        if batch.take():
            self._run(batch, connection)
        done(None)

    def _run(self, batch: Batch, connection: sqlite3.Connection) -> None:
        session = self._session = self._session or Session(connection, self._clock)
        try:
            session.begin("DEFERRED")
            for call in batch.calls:
                try:
                    call.value = call.work(session)
                except FifoqError as error:
                    call.error = error
            session.commit()
        except Exception as error:
            session.roll_back()
            batch.fail(translate(error, self._location.path, self._location.timeout) or error)


_changes = fast_constructor(Changes)


log = logging.getLogger("fifoq.sqlite")


class StoreFiles(NamedTuple):
    """What lies beside the store's file, and is used by the writing thread alone."""

    lock: Lock
    mark: CommitMark
    notifier: Notifier


class Writer:
    """Runs batches on the one connection of this process that writes."""

    def __init__(self, connection: Connection, location: Location, files: StoreFiles, clock: Clock) -> None:
        self._connection = connection
        self._location = location
        self._lock, self._mark, self._notifier = files
        self._clock = clock
        self._checkpoints = Checkpoints(location.path)
        self._session: Session | None = None
        self._flushes = location.synchronous == "full"

    async def prepare(self) -> None:
        """Make the file a store of this version's schema, under the lock."""
        await self._connection.run(self._prepare)

    # ---- in the thread

    def serve(self, batch: Batch, done: Done, connection: sqlite3.Connection) -> None:
        """See `fifoq_sqlite.lane.Serve`."""
        session = self._session
        assert session is not None
        changes = None
        try:
            with self._lock:
                if batch.take():
                    try:
                        changes = self._transact(session, batch.calls)
                    except Exception as error:
                        changes = self._split(session, batch.calls, error)
        except Exception as error:
            if batch.take():  # it never began
                batch.fail(self._translate(error) or error)
            else:
                log.warning("%s could not be let go after a commit, which stands: %s", self._location.path, error)
        # Not while others wait for the lock: it may take a busy loop milliseconds to let this thread go on.
        done(changes)
        if changes is not None:
            self._tidy_up(connection, changes)

    def _tidy_up(self, connection: sqlite3.Connection, changes: Changes) -> None:
        """Do what the callers need not wait for."""
        try:
            if changes.woken or changes.ended:
                self._notifier.notify(changes)
            if self._checkpoints.due(connection):
                with self._lock:
                    self._checkpoints.run(connection)
        except Exception as error:
            log.warning("%s could not be tidied up after a commit, which stands: %s", self._location.path, error)

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

    def _transact(self, session: Session, calls: Sequence[PendingCall]) -> Changes | None:
        """Run the calls in one transaction; return what changed."""
        committing = False
        try:
            session.begin()
            for call in calls:
                call.error = None
                try:
                    call.value = call.work(session)
                except FifoqError as refusal:
                    # It was refused before it changed anything, as overtaken.
                    call.error = refusal
            if not session.changes and self._flushes:
                self._commit_lightly(session)
                return None
            if not session.only_unindexed:
                save(session)
            session.write()
            committing = True
            session.commit()
            self._acknowledge(session)
            return _changes((session.woken, session.ended, session.versions)) if session.changes else None
        except BaseException as error:
            session.roll_back()
            known = self._translate(error, committing=committing) if isinstance(error, Exception) else None
            raise known or error from error

    def _split(self, session: Session, calls: Sequence[PendingCall], error: Exception) -> Changes | None:
        """The transaction failed. If that was the fault of one of the calls, each gets one of its own."""
        known = self._translate(error)
        if known is None and len(calls) > 1:
            changes = [self._transact_alone(session, call) for call in calls]
            return Changes.of(one for one in changes if one)
        for call in calls:
            call.error = known or error
        return None

    def _transact_alone(self, session: Session, call: PendingCall) -> Changes | None:
        try:
            return self._transact(session, [call])
        except Exception as error:
            return self._split(session, [call], error)

    def _acknowledge(self, session: Session) -> None:
        if session.used:
            state = session.used[-1]
            self._mark.write(state.id, state.version)

    def _commit_lightly(self, session: Session) -> None:
        """
        Write the time and the replies of calls that changed nothing else, without a flush.

        An idle worker's looks must cost nothing. Should power fail, nobody who was told is left to ask again.
        """
        session.commit()
        if not session.used:
            return
        session.connection.execute("PRAGMA synchronous = NORMAL")
        try:
            session.connection.execute("BEGIN IMMEDIATE")
            save(session)
            session.write()
            session.commit()
        finally:
            if session.connection.in_transaction:
                session.connection.execute("ROLLBACK")
            session.connection.execute("PRAGMA synchronous = FULL")

    def _translate(self, error: Exception, *, committing: bool = False) -> BackendError | None:
        if isinstance(error, BackendError):
            return error
        return translate(error, self._location.path, self._location.timeout, committing=committing)
