"""Trouble with the backend, told once: what is wrong when it begins, and that it is over."""

import logging
import time

from fifoq.errors import BackendError

log = logging.getLogger("fifoq.worker")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two tries, doubled from the first to the longest: a worker goes on within 2 s of the return."""


class Outage:
    """Whether the backend answers one part of the worker, and when to try again."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._since: float | None = None
        self._pause = 0.0
        self.until = 0.0
        """Before this moment (`time.monotonic()`) there is no use in trying."""

    @property
    def ongoing(self) -> bool:
        return self._since is not None

    def failed(self, error: Exception) -> float:
        """Note a failure; return how many seconds to wait before the next try."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            self._log(error)
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        self.until = now + self._pause
        return self._pause

    def over(self) -> None:
        """Note a success."""
        if self._since is not None:
            log.info("The backend answers again after %.1f s: %s.", time.monotonic() - self._since, self._what)
            self._since, self._pause, self.until = None, 0.0, 0.0

    def _log(self, error: Exception) -> None:
        expected = isinstance(error, BackendError)
        log.error(
            "The backend does not answer: %s. %s: %s. The worker tries again until it does, and needs no restart; "
            "check that the store runs, has room and can be reached from here.",
            self._what,
            type(error).__name__,
            error,
            exc_info=None if expected else error,
        )
