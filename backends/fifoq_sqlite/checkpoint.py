"""
Keeping the write-ahead log bounded. SQLite's own checkpoints are off: they would run outside fifoq's lock.

A log that is folded in time is written again from its start, in place, and never grows nor shrinks. That halves the
cost of a flush (100 instead of 210 µs here): a file that has grown has more to be flushed than its data.
"""

import os
import sqlite3
import time
from pathlib import Path

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
