"""
Which files SQLite has open in this process, and which it believes to have open because they were at a fork.

SQLite notes the locks of a process in memory, by file. A forked child inherits the notes and none of the locks: what it
opens anew on such a file is locked for nobody else. Another process then takes itself for the last one, folds the log
into the file and removes it, with all that the child is told is stored from then on.
"""

import os
from pathlib import Path

from fifoq.errors import ConfigurationError

Identity = tuple[int, int]
"""A file's device and inode: by these SQLite knows it."""

# Lists, because their methods are atomic: connections are opened and closed in threads, and a fork waits for none.
_open: list[Identity] = []
_inherited: list[Identity] = []


def opening(path: Path) -> Identity:
    """Note that a connection is about to be opened, as long as `closed` is not called."""
    identity = _identity(path)
    _open.append(identity)
    return identity


def closed(identity: Identity) -> None:
    """Note that a connection is closed, or was never opened. One that was abandoned is never closed."""
    _open.remove(identity)


def refuse_inherited(path: Path) -> None:
    """Raise ConfigurationError if a parent of this process had the file open when it forked."""
    if _identity(path) in _inherited:
        raise ConfigurationError(
            f"{path} was open when this process was forked, and SQLite's locks do not work in such a child: what it "
            "stores could be lost. Fork before a Fifoq is opened, or close it before; or start processes with the "
            "method 'spawn' or 'forkserver'."
        )


def _identity(path: Path) -> Identity:
    found = path.stat()
    return found.st_dev, found.st_ino


def _forked() -> None:
    _inherited.extend(_open)
    _open.clear()


os.register_at_fork(after_in_child=_forked)
