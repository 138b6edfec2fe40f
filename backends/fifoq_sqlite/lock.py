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
from pathlib import Path
from types import TracebackType

from fifoq.errors import ConfigurationError


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
