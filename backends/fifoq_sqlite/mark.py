"""
The mark of the last acknowledged commit, in a small file beside the store.

SQLite reads a write-ahead log up to the first frame that does not fit, and takes what is behind for never written. So
a log that lost its end to a faulty disk, a copy or a hand would silently take acknowledged jobs along. The mark tells.
"""

import os
import sqlite3
import struct
from functools import cache
from pathlib import Path

from fifoq_sqlite.book import LAST_ENTRY
from fifoq_sqlite.faults import corrupt
from fifoq_sqlite.statements import load

_REACHED = struct.Struct("<QQ")
"""Queue and version."""
_KEPT = struct.Struct("<?36s")
"""Whether the commit was flushed, and in which run of the machine it was made."""
_SIZE = _REACHED.size + _KEPT.size


class Mark:
    """The file, as the writing thread keeps it, under the lock. It is never flushed: only a live kernel matters."""

    def __init__(self, folder: Path, *, flushes: bool) -> None:
        self._path = folder / "mark"
        self._kept = _KEPT.pack(flushes, _boot())
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def read(self) -> tuple[int, int] | None:
        """Return (queue, version) that the store must have reached, or None if nothing is known."""
        data = os.pread(self._file, _SIZE, 0)
        if len(data) < _SIZE:
            return None
        queue, version = _REACHED.unpack_from(data)
        flushed, boot = _KEPT.unpack_from(data, _REACHED.size)
        # A commit that was not flushed may be lost with the machine, and its mark be there: that is what was chosen.
        return (queue, version) if flushed or boot == _boot() else None

    def write(self, queue: int, version: int) -> None:
        """This version of this queue is committed, and about to be acknowledged."""
        try:  # noqa: SIM105 (it would take twice as long, for every commit)
            os.pwrite(self._file, _REACHED.pack(queue, version) + self._kept, 0)
        except OSError:
            pass  # should the disk be full, the commit stands all the same; an older mark only tells less

    def clear(self) -> None:
        """The store is new."""
        os.ftruncate(self._file, 0)

    def check(self, path: Path, connection: sqlite3.Connection) -> None:
        """Raise BackendCorrupt if the store is behind the mark."""
        mark = self.read()
        if mark is None:
            return
        queue, marked = mark
        row = connection.execute(load("queue_version"), (queue, LAST_ENTRY)).fetchone()
        reached = row[0] if row else 0
        if reached < marked:
            raise corrupt(
                path,
                f"the last {marked - reached} transactions that were acknowledged are missing. If an older copy was "
                f"restored on purpose, remove {self._path} and open it again",
            )

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@cache
def _boot() -> bytes:
    """What names this run of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()[:36].ljust(36)
    except OSError:
        return b"?".ljust(36)
