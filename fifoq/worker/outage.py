"""Trouble with the backend: logged once when it begins, and once when all parts of the worker get answers again."""

import logging
import time

from fifoq.errors import BackendError

_ADVICE = (
    " The worker tries again until it does, and needs no restart; check that the store runs, has room, and can be "
    "reached from here."
)

log = logging.getLogger("fifoq.worker")

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0
"""Seconds between two tries, doubled from the first to the longest: a worker goes on within 2 s of the return."""


class Contact:
    """Whether the backend answers a worker. Its parts report that one by one, from two threads."""

    def __init__(self) -> None:
        self._cut_off: set[Outage] = set()
        self._since = 0.0
        self._logged = False

    @property
    def lost(self) -> bool:
        """Whether any part of the worker gets no answers."""
        return bool(self._cut_off)

    def begin(self, outage: "Outage", error: Exception) -> None:
        """
        Note that a part gets no answer.

        It is not logged yet, unless it is a bug: the next try may get an answer.
        """
        if not self._cut_off:
            self._since = time.monotonic()
        self._cut_off.add(outage)
        if not isinstance(error, BackendError):
            self.report(outage, error)

    def report(self, outage: "Outage", error: Exception) -> None:
        """Log the trouble, if it is not logged yet."""
        if self._logged:
            return
        self._logged = True
        lasting = isinstance(error, BackendError) and error.lasting
        log.error(
            "The backend does not answer: %s. %s: %s%s",
            outage.consequence,
            type(error).__name__,
            f"{error}".rstrip(".") + ".",
            "" if lasting else _ADVICE,
            exc_info=None if isinstance(error, BackendError) else error,
        )

    def end(self, outage: "Outage") -> None:
        """Note that a part gets answers again; log that if it is the last."""
        self._cut_off.discard(outage)
        if not self._cut_off and self._logged:
            self._logged = False
            log.info("The backend answers again, after %.1f s.", time.monotonic() - self._since)


class Outage:
    """Whether the backend answers one part of a worker, and when to try again."""

    def __init__(self, contact: Contact, consequence: str) -> None:
        self.consequence = consequence
        """The work that waits meanwhile."""
        self.ongoing = False
        self.until = 0.0
        """No try is made before this moment (`time.monotonic()`)."""
        self._contact = contact
        self._pause = 0.0

    def failed(self, error: Exception) -> float:
        """Note a failure; return how many seconds to wait before the next try."""
        if self.ongoing:
            self._contact.report(self, error)
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
