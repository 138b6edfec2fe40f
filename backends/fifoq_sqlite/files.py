"""
The advisory lock around every write transaction, checkpoint, opening and closing of all processes of one store.

Why not SQLite's own lock alone: its busy handler sleeps up to 100 ms between looks and is not fair, and before 3.51.3
two connections that commit and checkpoint at once can corrupt a file in WAL mode. Under this lock they never do.

A turnstile makes it fair: who wants the lock takes the turn first and gives it back once it holds the lock. The one
that just let go has to queue behind the one that holds the turn.
"""

import contextlib
import fcntl
import os
import sqlite3
import struct
from functools import cache
from pathlib import Path
from types import TracebackType

from fifoq.errors import ConfigurationError
from fifoq_sqlite.errors import corrupt
from fifoq_sqlite.queue_state import LAST_ENTRY
from fifoq_sqlite.statements import load


class Lock:
    """One holder's door to the lock, for `with`. Blocks in the kernel: no looking again and again."""

    def __init__(self, folder: Path) -> None:
        self._turn = _open(folder / "turn")
        try:
            self._lock = _open(folder / "lock")
        except OSError:
            os.close(self._turn)
            raise

    def __enter__(self) -> None:
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """
        Let go of the files, and so of the lock. Idempotent.

        A child after fork does so at once: its copies would hold the lock on, should the parent die while it has it.
        """
        for name in ("_turn", "_lock"):
            descriptor = getattr(self, name)
            setattr(self, name, -1)
            if descriptor >= 0:
                os.close(descriptor)


def prepare(path: Path) -> tuple[Path, bool]:
    """
    Make the store's file, and the folder beside it, if they are not there: for their owner only.

    Returns the folder, and whether the file is new.
    """
    folder = path.with_name(f"{path.name}-fifoq")
    new = False
    with contextlib.suppress(FileExistsError):
        # SQLite gives -wal and -shm the mode of the file. Not through a link: somebody else may have put it there.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        new = True
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder, new


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except IsADirectoryError as error:
        raise ConfigurationError(f"{path} has to be a file of fifoq's own; it is a folder. Remove it.") from error


_REACHED = struct.Struct("<QQ")
"""Queue and version."""
_KEPT = struct.Struct("<?36s")
"""Whether the commit was flushed, and in which run of the machine it was made."""
_SIZE = _REACHED.size + _KEPT.size


class CommitMark:
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
