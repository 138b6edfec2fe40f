"""
Hints between processes: a named pipe for each opened backend, beside the store's file. No hint is needed for
correctness: whoever misses one looks again within a quarter of a second.

A sleeping process costs nothing; one line in its pipe wakes it within a fraction of a millisecond.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_MOST = 4_096
"""Bytes that a pipe takes as a whole or not at all."""
_LOOK = 0.001
"""Seconds between two looks at the folder: under load they would be some percent of the work."""
_LISTING = 1.0
"""Seconds after which the list of pipes is read again even if the folder looks unchanged."""


class Changes(NamedTuple):
    """What transactions changed that somebody may wait for."""

    woken: set[str]
    """Queues in which something may have become claimable."""
    ended: list[tuple[str, str]]
    """(queue, id) of jobs that ended or were removed."""
    versions: dict[str, int]
    """The version of each queue that was changed, or of those woken, as others are told."""

    @classmethod
    def of(cls, parts: "Iterable[Changes]") -> "Changes":
        changes = cls(set(), [], {})
        for part in parts:
            changes.woken.update(part.woken)
            changes.ended.extend(part.ended)
            changes.versions.update(part.versions)
        return changes

    def lines(self) -> Iterator[bytes]:
        """The changes as lines. Names and ids have no control characters."""
        for queue in self.woken:
            yield f"w{self.versions.get(queue, 0)}\t{queue}\n".encode()
        for queue, id in self.ended:
            yield f"e{queue}\t{id}\n".encode()

    @classmethod
    def read(cls, data: bytes) -> "Changes":
        """The changes of whole lines; what makes no sense is passed over."""
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
    """The pipe in which this backend hears of the others' changes, on its loop."""

    def __init__(self, folder: Path, on_changes: Callable[[Changes], None]) -> None:
        self.name = f"wake-{os.getpid()}-{secrets.token_hex(4)}"
        self._path = folder / self.name
        self._on_changes = on_changes
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        # Under another name until it is open: a pipe that nobody reads is taken for one of a dead process.
        new = folder / f"new-{self.name}"
        os.mkfifo(new, 0o600)
        self._read = os.open(new, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        # A writer of its own keeps the pipe from reporting an end when the last other one leaves.
        self._write = os.open(new, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.rename(new, self._path)
        self._loop.add_reader(self._read, self._listen)

    def close(self) -> None:
        """Stop listening. Idempotent."""
        if self._read < 0:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(self._read)
        self.drop()
        self._path.unlink(missing_ok=True)

    def drop(self) -> None:
        """Let go of the pipe, which may be another process's, and leave it there."""
        for descriptor in (self._read, self._write):
            if descriptor >= 0:
                os.close(descriptor)
        self._read = self._write = -1

    def _listen(self) -> None:
        try:
            data = os.read(self._read, 1 << 16)
        except BlockingIOError:
            return
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if newline:
            self._on_changes(Changes.read(whole))


class Notifier:
    """Tells the other backends of a store the changes, from the writing thread. Waits for nobody."""

    def __init__(self, folder: Path, own: str) -> None:
        self._folder = folder
        self._own = own
        self._pipes: dict[str, int] = {}
        self._seen = -1
        self._listed = 0.0
        self._looked = 0.0

    def notify(self, changes: Changes) -> None:
        now = time.monotonic()
        if now - self._looked >= _LOOK:
            self._list(now)
        if not self._pipes:
            return
        for part in _parts(changes.lines()):
            for name in list(self._pipes):
                self._write(name, part)

    def close(self) -> None:
        for descriptor in self._pipes.values():
            os.close(descriptor)
        self._pipes.clear()

    def _list(self, now: float) -> None:
        """Know the pipes that are there. A look at the folder's time costs a microsecond; a list is read if need be."""
        self._looked = now
        try:
            stamp = os.stat(self._folder).st_mtime_ns
            # Two changes within one tick of the file system's clock look like one.
            fresh = time.time_ns() - stamp < 50_000_000
            if stamp == self._seen and not fresh and now - self._listed < _LISTING:
                return
            self._seen, self._listed = stamp, now
            names = {name for name in os.listdir(self._folder) if name.startswith("wake-")} - {self._own}
        except OSError:
            return
        for name in self._pipes.keys() - names:
            os.close(self._pipes.pop(name))
        for name in names - self._pipes.keys():
            self._open(name)

    def _open(self, name: str) -> None:
        try:
            self._pipes[name] = os.open(self._folder / name, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            # Nobody reads it: its process died.
            (self._folder / name).unlink(missing_ok=True)

    def _write(self, name: str, part: bytes) -> None:
        try:
            os.write(self._pipes[name], part)
        except BlockingIOError:
            pass  # it is full: its reader has enough to wake up for
        except OSError:
            os.close(self._pipes.pop(name))
            (self._folder / name).unlink(missing_ok=True)


def _parts(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines together in parts that a pipe takes whole."""
    part = b""
    for line in lines:
        if len(part) + len(line) > _MOST:
            yield part
            part = b""
        part += line
    if part:
        yield part
