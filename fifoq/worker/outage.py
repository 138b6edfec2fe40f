"""Trouble with the backend, told once: what is wrong when it begins, and that it is over when all parts are well."""

import logging
import time

from fifoq.errors import BackendError

log = logging.getLogger("fifoq.worker")

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0
"""Seconds between two tries, doubled from the first to the longest: a worker goes on within 2 s of the return."""


class Contact:
    """Whether the backend answers a worker. Its parts find out one by one, on its loop and in the keeper's thread."""

    def __init__(self) -> None:
        self._cut_off: set[Outage] = set()
        self._since = 0.0

    @property
    def lost(self) -> bool:
        """Whether any part of the worker gets no answers."""
        return bool(self._cut_off)

    def begin(self, outage: "Outage", error: Exception) -> None:
        """Note that a part gets no answers; tell it if it is the first."""
        first = not self._cut_off
        self._cut_off.add(outage)
        if first:
            self._since = time.monotonic()
            log.error(
                "The backend does not answer: %s. %s: %s. The worker tries again until it does, and needs no restart; "
                "check that the store runs, has room, and can be reached from here.",
                outage.what,
                type(error).__name__,
                error,
                exc_info=None if isinstance(error, BackendError) else error,
            )

    def end(self, outage: "Outage") -> None:
        """Note that a part gets answers again; tell it if it is the last."""
        self._cut_off.discard(outage)
        if not self._cut_off:
            log.info("The backend answers again, after %.1f s.", time.monotonic() - self._since)


class Outage:
    """Whether the backend answers one part of a worker, and when to try again."""

    def __init__(self, contact: Contact, what: str) -> None:
        self.what = what
        """What does not happen meanwhile."""
        self.ongoing = False
        self.until = 0.0
        """Before this moment (`time.monotonic()`) there is no use in trying."""
        self._contact = contact
        self._pause = 0.0

    def failed(self, error: Exception) -> float:
        """Note a failure; return how many seconds to wait before the next try."""
        if not self.ongoing:
            self.ongoing = True
            self._contact.begin(self, error)
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        self.until = time.monotonic() + self._pause
        return self._pause

    def over(self) -> None:
        """Note a success."""
        if self.ongoing:
            self.ongoing = False
            self._pause = self.until = 0.0
            self._contact.end(self)
