"""Batches, run in the threads of the connections: one lock, one transaction, then notifications and checkpoints."""

import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fifoq.clock import Clock
from fifoq.errors import BackendError, BackendUnavailable, FifoqError
from fifoq.record import Claimed, fast_constructor
from fifoq_sqlite.connection import Connection
from fifoq_sqlite.errors import gone_meanwhile, translate
from fifoq_sqlite.files import CommitMark, Lock, OpenFiles, flush_folder, flush_log
from fifoq_sqlite.group_commit import Batch, Done, PendingCall
from fifoq_sqlite.notify import Changes, Notifier
from fifoq_sqlite.replies import save
from fifoq_sqlite.schema import migrate
from fifoq_sqlite.session import Session
from fifoq_sqlite.url import Location

CHECKPOINT_ROWS = 10_000
"""Rows changed since the last checkpoint, at which the next is due."""
CHECKPOINT_COMMITS = 1_000
"""Commits since the last checkpoint, at which the next is due."""
LARGE_LOG = 64 * 2**20
"""Bytes of the log at which a checkpoint is due in any case, and at which the log is truncated."""
TRUNCATE_AGAIN = 0.5
"""Seconds after which a failed truncation is tried again."""
COMMITS_PER_SIZE = 8
"""The size of the log is read once in so many commits."""

log = logging.getLogger("fifoq.sqlite")
_changes = fast_constructor(Changes)


# ---- the writing connection ----


class StoreFiles(NamedTuple):
    """The files beside the store that only the writing thread uses."""

    lock: Lock
    mark: CommitMark
    notifier: Notifier
    open: OpenFiles


class Writer:
    """Runs batches on the one connection of this process that writes."""

    def __init__(self, connection: Connection, location: Location, files: StoreFiles, clock: Clock) -> None:
        self._connection = connection
        self._location = location
        self._lock, self._mark, self._notifier, self._open_files = files
        self._clock = clock
        self._checkpoints = Checkpoints(location.path)
        self._session: Session | None = None
        self._flushes = location.synchronous == "full"

    async def prepare(self) -> None:
        """Make the schema, or upgrade it to this version's, under the lock."""
        await self._connection.run(self._prepare)

    # All below runs in the thread.

    def serve(self, batch: Batch, done: Done, connection: sqlite3.Connection) -> None:
        """Run a batch: see `fifoq_sqlite.group_commit.Serve`."""
        session = self._session
        assert session is not None
        changes = None
        try:
            with self._lock:
                if batch.take():
                    changes = self._run(session, batch)
        except Exception as error:
            if batch.take():  # it never began
                batch.fail(self._translate(error) or error)
            else:
                log.warning("%s could not be unlocked after a commit, which is done: %s", self._location.path, error)
        # Not under the lock, for which others may wait: a busy loop may take milliseconds to let this thread go on.
        done(changes)
        if changes is not None:
            self._tidy_up(connection, changes)

    def _run(self, session: Session, batch: Batch) -> Changes | None:
        """Run a batch, if the store's files are where its next process looks for them; return the changes."""
        try:
            self._open_files.check()
        except BackendUnavailable as error:
            batch.fail(error)
            return None
        try:
            changes = self._transact(session, batch.calls)
        except Exception as error:
            changes = self._split(session, batch.calls, error)
        try:
            self._open_files.check()
        except BackendUnavailable as error:
            batch.fail(gone_meanwhile(error))
            return None
        return changes

    def _transact(self, session: Session, calls: Sequence[PendingCall]) -> Changes | None:
        """Run the calls in one transaction; return the changes."""
        committing = False
        try:
            session.begin()
            for call in calls:
                call.error = None
                try:
                    call.value = call.work(session)
                except FifoqError as refusal:
                    # Such a call is refused, as overtaken for instance, before it changes anything.
                    call.error = refusal
            if not session.changes and self._flushes:
                self._commit_unflushed(session)
                if session.unflushed and any(map(_rests_on_commits, calls)):
                    flush_log(self._location.path)
                    session.unflushed = False
                return None
            if not session.only_unindexed:
                save(session)
            session.write()
            committing = True
            session.commit()
            session.unflushed = False
            self._acknowledge(session)
            return _changes((session.woken, session.ended, session.versions)) if session.changes else None
        except BaseException as error:
            session.roll_back()
            known = self._translate(error, committing=committing) if isinstance(error, Exception) else None
            raise known or error from error

    def _split(self, session: Session, calls: Sequence[PendingCall], error: Exception) -> Changes | None:
        """After a failed transaction: if a call was at fault, run each call in a transaction of its own."""
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

    def _commit_unflushed(self, session: Session) -> None:
        """
        Store the time and the replies of calls that changed nothing else, without a flush.

        So the empty claims of an idle worker cost no flush. A power loss that takes the replies ends their callers too.
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

    def _tidy_up(self, connection: sqlite3.Connection, changes: Changes) -> None:
        """Notify the other processes, and checkpoint if it is due: the callers need not wait for either."""
        try:
            if changes.woken or changes.ended:
                self._notifier.notify(changes)
            if self._checkpoints.due(connection):
                with self._lock:
                    self._checkpoints.run(connection)
        except Exception as error:
            log.warning("%s could not be tidied up after a commit, which is done: %s", self._location.path, error)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise sqlite3.OperationalError("it cannot be switched to write-ahead logging")
            connection.execute("BEGIN IMMEDIATE")
            try:
                migrate(connection)
                self._mark.check(self._location.path, connection)
                connection.execute("COMMIT")
                self._open_files.note_all()
                if self._flushes:
                    # A process may have died between the write of a commit and its flush: it counts from here on.
                    flush_log(self._location.path)
                    flush_folder(self._location.path)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        self._session = Session(connection, self._clock)

    def _translate(self, error: Exception, *, committing: bool = False) -> BackendError | None:
        if isinstance(error, BackendError):
            return error
        return translate(error, self._location.path, self._location.timeout, committing=committing)


def _rests_on_commits(call: PendingCall) -> bool:
    """
    Return whether the reply of a call that changed nothing promises something, such as that the job is there already.

    The commit that it rests on may be another process's, which did not flush it: by its URL, or because it died. The
    empty claims of idle workers promise nothing, and cost no flush.
    """
    return call.error is None and not (isinstance(call.value, Claimed) and not call.value.leases)


class Checkpoints:
    """The policy by which the writing thread folds the log into the file: after a commit, under the lock."""

    def __init__(self, path: Path) -> None:
        self._log = f"{path}-wal"
        self._rows_before = 0
        self._commits = 0
        self._large = False
        self._truncate_at = 0.0
        """The earliest time of the next truncation: after a failed one, a long reader may still be in the way."""

    def due(self, connection: sqlite3.Connection) -> bool:
        """Count one more commit, and return whether a checkpoint is due."""
        self._commits += 1
        if self._commits % COMMITS_PER_SIZE == 0:
            self._large = self._size() >= LARGE_LOG and time.monotonic() >= self._truncate_at
        return (
            self._large
            or self._commits >= CHECKPOINT_COMMITS
            or connection.total_changes - self._rows_before >= CHECKPOINT_ROWS
        )

    def run(self, connection: sqlite3.Connection) -> None:
        """Checkpoint without waiting: the next checkpoint folds the pages that a reader holds back."""
        large, self._large = self._large, False
        self._rows_before, self._commits = connection.total_changes, 0
        try:
            _, frames, folded = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if large and not (frames == folded and self._truncate(connection)):
                self._truncate_at = time.monotonic() + TRUNCATE_AGAIN
        except sqlite3.OperationalError:
            # The file has no room, or is locked. The commits are safe in the log, and the next checkpoint may succeed.
            self._truncate_at = time.monotonic() + TRUNCATE_AGAIN

    def _truncate(self, connection: sqlite3.Connection) -> bool:
        """Truncate the log, unless a reader still uses it; return whether it was truncated."""
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


# ---- the reading connection ----


class Reader:
    """Runs batches on the connection that only reads."""

    def __init__(self, location: Location, clock: Clock) -> None:
        self._location = location
        self._clock = clock
        self._session: Session | None = None

    def serve(self, batch: Batch, done: Done, connection: sqlite3.Connection) -> None:
        """Run a batch, in the thread: see `fifoq_sqlite.group_commit.Serve`."""
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
