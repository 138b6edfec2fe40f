"""
The program of a supervised worker process: `python -m fifoq.cli.supervised WORDS`.

Its standard input is the lifeline: the first line has the options, orders follow, and the end comes with the
supervisor. Orders come on this way since a signal may reach all processes of a service at once, and a second one ends
the grace. WORDS is the number of a pipe for its words to the supervisor, one JSON object a line: `beat`, `failed` and
`done`.
"""

import contextlib
import json
import os
import sys
import threading
import time
from typing import Any

from fifoq.cli.health import Health
from fifoq.cli.options import STOP, WorkerOptions
from fifoq.cli.output import FAILED, ORPHANED, AppError, status_of
from fifoq.cli.workers import Presence, work_on
from fifoq.errors import FifoqError

GRACE = 25.0
"""Seconds until an orphan ends whose worker is not made yet."""


class Words:
    """The pipe to the supervisor. After the end of that, words are dropped."""

    def __init__(self, number: int) -> None:
        os.set_inheritable(number, False)
        self._number = number
        self._lock = threading.Lock()

    def send(self, **word: Any) -> None:
        """Send one word, from any thread."""
        line = json.dumps(word).encode() + b"\n"
        with self._lock, contextlib.suppress(OSError):
            while line:
                line = line[os.write(self._number, line) :]


def main() -> int:
    """Run the worker; return the exit status."""
    words, lifeline = Words(int(sys.argv[1])), _take_lifeline()
    options = WorkerOptions(**json.loads(lifeline.readline()))
    presence: Presence

    def tell(health: Health) -> None:
        settings = presence.worker.settings if presence.worker is not None else None
        words.send(
            word="beat",
            health=health,
            lease=settings.lease if settings else None,
            grace=settings.grace if settings else None,
        )

    presence = Presence(tell)
    threading.Thread(target=_end_with, args=(lifeline, presence, options), name="fifoq-lifeline", daemon=True).start()
    try:
        work_on(options, presence, lambda: None)
    except FifoqError as error:
        trace = error.traceback if isinstance(error, AppError) else ""
        if options.debug:
            import traceback

            trace = "".join(traceback.format_exception(error))
        words.send(word="failed", status=status_of(error), sentence=str(error), traceback=trace)
        return FAILED
    words.send(word="done")
    return 0


def _take_lifeline() -> Any:
    """Take the lifeline away from standard input, which the app and its own programs may read."""
    lifeline = os.fdopen(os.dup(0), "rb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return lifeline


def _end_with(lifeline: Any, presence: Presence, options: WorkerOptions) -> None:
    """Follow the supervisor's orders, and end with it: as at SIGTERM, and after the grace at once."""
    while order := lifeline.read(1):
        presence.stop() if order == STOP else presence.hurry()
    presence.stop()
    grace = presence.grace
    time.sleep((grace if grace is not None else options.grace if options.grace is not None else GRACE) + 1.0)
    os._exit(ORPHANED)


if __name__ == "__main__":
    sys.exit(main())
