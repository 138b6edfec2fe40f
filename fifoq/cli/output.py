"""Words for the user, on standard error, and exit statuses."""

import os
import sys
from typing import Any

from fifoq.errors import BackendError, FifoqError

DONE, FAILED, USAGE, STORE, INTERRUPTED = 0, 1, 2, 3, 130
"""Done; a check failed, or a supervisor gave up; usage, configuration, import; the store; SIGINT."""
ORPHANED = 75
"""The status of a worker process that did not end in time after its supervisor was gone."""


class AppError(FifoqError):
    """The code of an app raised an error. `traceback` has the lines of that code, `status` is the exit status."""

    def __init__(self, message: str, traceback: str, status: int = USAGE) -> None:
        super().__init__(message)
        self.traceback = traceback
        self.status = status


def status_of(error: FifoqError) -> int:
    """Return the exit status of a command that ends with this error."""
    if isinstance(error, AppError):
        return error.status
    return STORE if isinstance(error, BackendError) else USAGE


def complain(error: BaseException | str, status: int, *, debug: bool = False) -> int:
    """Print an error as one sentence, below the traceback of the app's code if it is of that; return the status."""
    if debug and isinstance(error, BaseException):
        import traceback

        traceback.print_exception(error)
    elif isinstance(error, AppError):
        sys.stderr.write(error.traceback)
    print(f"fifoq: {error}", file=sys.stderr)
    return status


def colours(stream: Any) -> bool:
    """Whether to write colours to a stream: only to a terminal that has some, and not if NO_COLOR is set."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and bool(stream.isatty())
