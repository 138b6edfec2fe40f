"""
Main guard: a child process that imports the program of its worker opens no Fifoq and starts no worker.

A child imports that program to find the functions of tasks. A program without `if __name__ == "__main__":` starts
there once more, and would become a second worker, inside of an import that never ends.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from weakref import WeakSet

from fifoq.errors import ConfigurationError

GUARD = 'if __name__ == "__main__":'


class Imports:
    """Imports of the user's program by this process, if it is a child of a worker."""

    def __init__(self) -> None:
        self.running = False
        self.threads: WeakSet[threading.Thread] = WeakSet()
        """Threads that were started by an import: they belong to the program, not to a job."""
        self.refusal: str | None = None
        """The text of the last refusal. The program may catch the error and end in its own way."""


_IMPORTS = Imports()


@contextmanager
def importing() -> Generator[Imports]:
    """Refuse Fifoqs and workers during the block, and workers in threads that the block starts for good."""
    before = set(threading.enumerate())
    _IMPORTS.running, _IMPORTS.refusal = True, None
    try:
        yield _IMPORTS
    finally:
        _IMPORTS.running = False
        _IMPORTS.threads.update(set(threading.enumerate()) - before)


def refuse_to_open() -> None:
    """Raise ConfigurationError in a child process that imports the program of its worker."""
    if _IMPORTS.running:
        raise _refused("opened a Fifoq")


def refuse_to_work() -> None:
    """Raise ConfigurationError there, and in a thread that was started by such an import."""
    if _IMPORTS.running or threading.current_thread() in _IMPORTS.threads:
        raise _refused("started a worker")


def _refused(deed: str) -> ConfigurationError:
    _IMPORTS.refusal = (
        f'A child process, started by a worker for tasks with run_in="process", imported the program, and the program '
        f"{deed} there. Write `{GUARD}` above the lines that do so, and indent them: then they run in the program, "
        "and not when a child imports it."
    )
    return ConfigurationError(_IMPORTS.refusal)
