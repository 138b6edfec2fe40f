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
        self._told = False

    @property
    def lost(self) -> bool:
        """Whether any part of the worker gets no answers."""
        return bool(self._cut_off)

    def begin(self, outage: "Outage", error: Exception) -> None:
        """Note that a part gets no answer. One that the next try gets is nobody's business, unless it is a bug."""
        if not self._cut_off:
            self._since = time.monotonic()
        self._cut_off.add(outage)
        if not isinstance(error, BackendError):
            self.tell(outage, error)

    def tell(self, outage: "Outage", error: Exception) -> None:
        """Tell of the trouble, if it is not known yet."""
        if self._told:
            return
        self._told = True
        log.error(
            "The backend does not answer: %s. %s: %s The worker tries again until it does, and needs no restart; "
            "check that the store runs, has room, and can be reached from here.",
            outage.what,
            type(error).__name__,
            f"{error}".rstrip(".") + ".",
            exc_info=None if isinstance(error, BackendError) else error,
        )

    def end(self, outage: "Outage") -> None:
        """Note that a part gets answers again; tell it if it is the last."""
        self._cut_off.discard(outage)
        if not self._cut_off and self._told:
            self._told = False
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
        if self.ongoing:
            self._contact.tell(self, error)
        else:
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
