"""
Notifications between the processes of a store: a named pipe of each open backend, beside the store's file.

They are hints, not needed for correctness: a waiter that misses one polls within a quarter of a second. An idle process
costs nothing, and a line written to its pipe wakes it within a fraction of a millisecond.
"""

import asyncio
import contextlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from fifoq_sqlite.files import Folder

_FLAGS = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_ATOMIC_WRITE = 4_096
"""Bytes that a pipe accepts as a whole or not at all."""
_CHECK_INTERVAL = 0.001
"""Seconds between two checks of the folder: one at each commit would be some percent of the work under load."""
_LIST_INTERVAL = 1.0
"""Seconds after which the folder is listed again even if its time is unchanged."""


class Changes(NamedTuple):
    """The changes of some transactions that may end a wait."""

    woken: set[str]
    """Queues in which a job may have become claimable."""
    ended: list[tuple[str, str]]
    """(queue, id) of jobs that ended or were removed."""
    versions: dict[str, int]
    """The version of each changed queue; read from a pipe, of each queue in `woken`."""

    @classmethod
    def of(cls, parts: "Iterable[Changes]") -> "Changes":
        """Merge changes, later ones last."""
        changes = cls(set(), [], {})
        for part in parts:
            changes.woken.update(part.woken)
            changes.ended.extend(part.ended)
            changes.versions.update(part.versions)
        return changes

    def lines(self) -> Iterator[bytes]:
        """Return the changes as lines for a pipe. Names and ids have no control characters."""
        for queue in self.woken:
            yield f"w{self.versions.get(queue, 0)}\t{queue}\n".encode()
        for queue, id in self.ended:
            yield f"e{queue}\t{id}\n".encode()

    @classmethod
    def read(cls, data: bytes) -> "Changes":
        """Parse whole lines from a pipe. Malformed lines are ignored."""
        changes = cls(set(), [], {})
        for line in data.decode("utf-8", "replace").split("\n"):
            first, tab, second = line[1:].partition("\t")
            if tab and line[0] == "e":
                changes.ended.append((first, second))
            elif tab and line[0] == "w" and first.isdecimal():
                changes.woken.add(second)
                changes.versions[second] = int(first)
        return changes


class Listener:
    """The pipe from which this backend reads the changes of the other backends, on its loop."""

    def __init__(self, folder: Folder, on_changes: Callable[[Changes], None]) -> None:
        self.name = f"wake-{os.getpid()}-{secrets.token_hex(4)}"
        self._folder = folder
        self._on_changes = on_changes
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        # It has another name until it is open: notifiers remove a pipe without a reader, as of a dead process.
        new, within = f"new-{self.name}", folder.descriptor
        os.mkfifo(new, 0o600, dir_fd=within)
        self._read = os.open(new, os.O_RDONLY | _FLAGS, dir_fd=within)
        # With a writer of its own the pipe reports no end of file when the last other writer leaves.
        self._write = os.open(new, os.O_WRONLY | _FLAGS, dir_fd=within)
        os.rename(new, self.name, src_dir_fd=within, dst_dir_fd=within)
        self._loop.add_reader(self._read, self._read_changes)

    def close(self) -> None:
        """Stop listening and remove the pipe. Idempotent."""
        if self._read < 0:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(self._read)
        self.close_files()
        _remove(self._folder, self.name)

    def close_files(self) -> None:
        """Close the pipe and leave it in the folder: in a child after a fork it belongs to the parent."""
        for descriptor in (self._read, self._write):
            if descriptor >= 0:
                os.close(descriptor)
        self._read = self._write = -1

    def _read_changes(self) -> None:
        try:
            data = os.read(self._read, 1 << 16)
        except BlockingIOError:
            return
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if newline:
            self._on_changes(Changes.read(whole))


class Notifier:
    """Writes changes to the pipes of the other backends of a store, from the writing thread. It never blocks."""

    def __init__(self, folder: Folder, own: str) -> None:
        self._folder = folder
        self._own = own
        """The name of this backend's own pipe."""
        self._pipes: dict[str, int] = {}
        self._listed_mtime = -1
        self._listed_at = 0.0
        self._checked_at = 0.0

    def notify(self, changes: Changes) -> None:
        now = time.monotonic()
        if now - self._checked_at >= _CHECK_INTERVAL:
            self._find_pipes(now)
        if not self._pipes:
            return
        for part in _parts(changes.lines()):
            for name in list(self._pipes):
                self._write(name, part)

    def close(self) -> None:
        for descriptor in self._pipes.values():
            os.close(descriptor)
        self._pipes.clear()

    def _find_pipes(self, now: float) -> None:
        """Open new pipes and close removed ones. The folder's time costs a microsecond, a listing is made if needed."""
        self._checked_at = now
        try:
            mtime = os.fstat(self._folder.descriptor).st_mtime_ns
            # Two changes within one tick of the file system's clock have the same time.
            recent = time.time_ns() - mtime < 50_000_000
            if mtime == self._listed_mtime and not recent and now - self._listed_at < _LIST_INTERVAL:
                return
            self._listed_mtime, self._listed_at = mtime, now
            names = {name for name in os.listdir(self._folder.descriptor) if name.startswith("wake-")} - {self._own}
        except OSError:
            return
        for name in self._pipes.keys() - names:
            os.close(self._pipes.pop(name))
        for name in names - self._pipes.keys():
            self._open(name)

    def _open(self, name: str) -> None:
        try:
            pipe = os.open(name, os.O_WRONLY | _FLAGS, dir_fd=self._folder.descriptor)
        except OSError:
            # The pipe has no reader: its process died.
            _remove(self._folder, name)
            return
        if stat.S_ISFIFO(os.fstat(pipe).st_mode):
            self._pipes[name] = pipe
        else:
            os.close(pipe)
            _remove(self._folder, name)

    def _write(self, name: str, part: bytes) -> None:
        try:
            os.write(self._pipes[name], part)
        except BlockingIOError:
            pass  # the pipe is full: its unread lines will wake the reader
        except OSError:
            os.close(self._pipes.pop(name))
            _remove(self._folder, name)


def _remove(folder: Folder, name: str) -> None:
    """Remove a pipe, or a file in its place; a folder there stays, and so does what is gone."""
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder.descriptor)


def _parts(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines to parts that a pipe accepts as a whole."""
    part = b""
    for line in lines:
        if len(part) + len(line) > _ATOMIC_WRITE:
            yield part
            part = b""
        part += line
    if part:
        yield part
