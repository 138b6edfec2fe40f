"""
The files beside the store: an advisory lock for all its processes, and a mark of the last acknowledged commit. And
whether the names of the store's files still stand for the files that are open.

The lock is held around every write transaction, checkpoint, opening and closing. SQLite's own lock is not enough: its
busy handler polls with sleeps of up to 100 ms and is not fair, and before 3.51.3 two connections that commit and
checkpoint at once can corrupt a file in WAL mode. Under this lock they never do.

A turnstile makes the lock fair: a process first locks the turnstile, and unlocks it once it holds the lock. A process
that has just released the lock waits at the turnstile behind the next one.
"""

import contextlib
import fcntl
import os
import sqlite3
import stat
import struct
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from zlib import crc32

from fifoq.errors import BackendUnavailable, ConfigurationError
from fifoq_sqlite.errors import corrupt, gone
from fifoq_sqlite.queue_state import LAST_ENTRY
from fifoq_sqlite.statements import load

_REACHED = struct.Struct("<QQ")
"""Layout of the first part of a mark: queue and version."""
_ORIGIN = struct.Struct("<?36s")
"""Layout of its second part: whether the commit was flushed, and the boot of the machine in which it was made."""
_SIZE = _REACHED.size + _ORIGIN.size
"""Bytes of a mark of fifoq 0.1.0, which ends there."""
_CHECKSUM = struct.Struct("<I")
"""Layout of the third part: the CRC-32 of the first two. A power cut may leave stale bytes in the file's sector."""

sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
"""Writes a file's contents to the disk. A variable, so that a test can record it."""

_LOOK_EVERY = 1.0
"""Seconds after which every name is looked up again, even if nothing seems to have changed in the folder."""
_TICK = 50_000_000
"""Nanoseconds, more than one tick of a file system's clock."""
_LOG_HEADER = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""The first bytes of a write-ahead log that is not empty."""


def prepare(path: Path) -> tuple["Folder", bool]:
    """
    Make the store's file and the folder beside it, unless they exist, with permissions for their owner only.

    Returns the folder, and whether the file is new. Raises ConfigurationError for another user's file or folder.
    """
    new = False
    if path.is_dir():
        raise BackendUnavailable(f"{path} is a folder, and a store is a file in one. Correct the URL.")
    with contextlib.suppress(FileExistsError):
        # SQLite gives -wal and -shm the mode of the file. No link is followed: another user may have put it there.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        new = True
    folder = Folder(path.with_name(f"{path.name}-fifoq"))
    try:
        for name in (str(path), f"{path}-wal", f"{path}-shm"):  # SQLite opens these, and follows no link to the latter
            with contextlib.suppress(FileNotFoundError):
                _check_owner(name, os.lstat(name), stat.S_ISREG)
    except BaseException:
        folder.close()
        raise
    return folder, new


class Folder:
    """
    The folder beside the store, held open: what is in it is made and opened through it.

    So nothing is made elsewhere, if another user puts a link or a folder in its place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise _misplaced(str(path), "folder") from None
            raise
        try:
            _check_owner(str(path), os.fstat(self.descriptor), stat.S_ISDIR)
        except BaseException:
            self.close()
            raise

    def open(self, name: str) -> int:
        """Open a file in it, which is made unless it exists. Raises ConfigurationError for a link or a foreign file."""
        path = str(self.path / name)
        with contextlib.suppress(FileNotFoundError):
            # Before it is opened: to open a device or a pipe may have an effect.
            _check_owner(path, os.stat(name, dir_fd=self.descriptor, follow_symlinks=False), stat.S_ISREG)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=self.descriptor)
        try:
            _check_owner(path, os.fstat(descriptor), stat.S_ISREG)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def close(self) -> None:
        """Close it. Idempotent."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _misplaced(path: str, kind: str) -> ConfigurationError:
    return ConfigurationError(f"{path} has to be a {kind} of fifoq's own, and no link to one. Remove it.")


def _check_owner(path: str, found: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """Raise ConfigurationError unless a file is of this kind and belongs to the user of this process."""
    if not is_kind(found.st_mode):
        raise _misplaced(path, "folder" if is_kind is stat.S_ISDIR else "file")
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} belongs to user {found.st_uid}, and this process runs as user {os.geteuid()}. Run all processes "
            "of the store as its owner; or, if it is not yours, remove it or choose another folder."
        )


class Lock:
    """The lock of the store, as a context manager. A thread that waits for it sleeps in the kernel."""

    def __init__(self, folder: Folder) -> None:
        self._turn = folder.open("turn")
        try:
            self._lock = folder.open("lock")
        except BaseException:
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
        Close the files, and so release the lock. Idempotent.

        A child does so right after a fork: its copies of the files would keep the lock if the parent died holding it.
        """
        for name in ("_turn", "_lock"):
            descriptor = getattr(self, name)
            setattr(self, name, -1)
            if descriptor >= 0:
                os.close(descriptor)


class CommitMark:
    """
    The file that records the last acknowledged commit, against a log of SQLite that lost its end.

    SQLite accepts such a log as one that ended there; by the mark the loss is detected at the next opening. The writing
    thread reads and writes it under the lock. It is never flushed: it protects only as long as the kernel runs.
    """

    def __init__(self, folder: Folder, *, flushes: bool) -> None:
        self._path = folder.path / "mark"
        self._origin = _ORIGIN.pack(flushes, _boot())
        self._file = folder.open("mark")

    def read(self) -> tuple[int, int] | None:
        """Return (queue, version) that the store must have reached, or None if the file records none."""
        data = os.pread(self._file, _SIZE + _CHECKSUM.size, 0)
        if len(data) != _SIZE and data[_SIZE:] != _CHECKSUM.pack(crc32(data[:_SIZE])):
            return None
        queue, version = _REACHED.unpack_from(data)
        flushed, boot = _ORIGIN.unpack_from(data, _REACHED.size)
        # With synchronous=normal a crash of the machine may lose a commit and keep its mark: the user accepted that.
        return (queue, version) if flushed or boot == _boot() else None

    def write(self, queue: int, version: int) -> None:
        """Record that this version of this queue is committed; called before it is acknowledged."""
        data = _REACHED.pack(queue, version) + self._origin
        try:  # noqa: SIM105 (it would take twice as long, for every commit)
            os.pwrite(self._file, data + _CHECKSUM.pack(crc32(data)), 0)
        except OSError:
            pass  # a full disk: the commit is done all the same, and an older mark only proves less

    def clear(self) -> None:
        """Erase the mark, for a new store."""
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
        """Close the file. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class OpenFiles:
    """
    The store's files as this process has them open, compared with the files that their names stand for now.

    SQLite writes to a file that was removed or replaced as if nothing had happened, and the next process finds none of
    it. So the writing thread checks before and after each batch. The folder's time, which changes with each name in it,
    costs a microsecond; the names are looked up if it has changed, and once a second.
    """

    def __init__(self, path: Path, folder: Path, named: Path) -> None:
        """`named` is the path in the URL, which may lead to `path` through links."""
        self._path, self._log, self._parent = str(path), f"{path}-wal", str(path.parent)
        self._named = None if named == path else str(named)
        beside = (str(folder), *(str(folder / name) for name in ("lock", "turn", "mark")))
        self._names = (self._log, f"{path}-shm", *beside)
        self._open = {self._path: _identity(self._path)}
        self._has_content = False
        self._parent_seen: tuple[int, int, int] | None = None
        self._looked_at = 0.0

    def note_all(self) -> None:
        """Note the identities of all files, once SQLite has them open, under the lock. That of the store is known."""
        self._open.update({name: _identity(name) for name in self._names})

    def check(self) -> None:
        """Raise BackendUnavailable if a name has gone or stands for another file, or if a file was emptied."""
        try:
            if self._named is not None:
                self._check_links(self._named)
            found = os.stat(self._parent)
            parent = found.st_dev, found.st_ino, found.st_ctime_ns
            if parent != self._parent_seen or time.monotonic() - self._looked_at >= _LOOK_EVERY:
                self._look(parent)
        except OSError as error:
            raise gone(error.filename or self._path, "removed or replaced") from error

    def _check_links(self, named: str) -> None:
        found = os.stat(named)
        if (found.st_dev, found.st_ino) != self._open[self._path]:
            raise gone(named, "linked to another file")

    def _look(self, parent: tuple[int, int, int]) -> None:
        self._parent_seen, began_at = None, time.time_ns()
        for name, identity in self._open.items():
            if _identity(name) != identity:
                raise gone(name, "removed or replaced")
        if self._has_content and not os.stat(self._path).st_size:
            raise gone(self._path, "emptied")
        if not self._log_is_whole():
            raise gone(self._log, "emptied")
        self._has_content = self._has_content or os.stat(self._path).st_size > 0
        self._looked_at = time.monotonic()
        # A name that changes within the same tick of the file system's clock leaves the folder's time as it is.
        if began_at - parent[2] > _TICK:
            self._parent_seen = parent

    def _log_is_whole(self) -> bool:
        """Return whether the log begins as a log does: after others have emptied it, it goes on behind a hole."""
        descriptor = os.open(self._log, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, 4, 0) in (b"", *_LOG_HEADER)
        finally:
            os.close(descriptor)


def flush_log(path: Path) -> None:
    """Write the log of the store at `path` to the disk, as SQLite does at a commit under synchronous=full."""
    _flush(f"{path}-wal", sync)


def flush_folder(path: Path) -> None:
    """Write the names in the folder of the store at `path` to the disk."""
    _flush(str(path.parent), os.fsync)


def _flush(name: str, sync: Callable[[int], None]) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _identity(name: str) -> tuple[int, int] | None:
    """Return the device and inode of a file, by which the kernel and SQLite know it, or None if there is none."""
    try:
        found = os.lstat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino


@cache
def _boot() -> bytes:
    """Return the id of the current boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()[:36].ljust(36)
    except OSError:
        return b"?".ljust(36)
