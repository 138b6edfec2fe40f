"""Trouble with the backend: logged once when it begins, and once when all parts of the worker get answers again."""

import logging
import time

from fifoq.calls import NOTHING_HAPPENED
from fifoq.errors import BackendError, ConfigurationError, OutcomeUnknown

log = logging.getLogger("fifoq.worker")

NOT_NOW = (*NOTHING_HAPPENED, OutcomeUnknown, ConfigurationError)
"""
The errors of a store that takes no calls now, whichever they are; the last if it denies access. Any other error comes
again at each try of the same call: it is no outage.
"""

_TRIES_AGAIN = (
    " The worker tries again until it does, and needs no restart; check that the store runs, has room, and can be "
    "reached from here."
)
_NO_USE = (
    " The worker tries again, but waiting alone does not help: mend the store, or report this as a bug of its backend."
)

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0
"""Seconds between two tries, doubled from the first to the longest: a worker goes on within 2 s of the return."""


def _advice(error: Exception) -> str:
    """Return the sentence that follows the error's own, if that does not say what to do."""
    if isinstance(error, BackendError) and error.lasting:
        return ""
    return _TRIES_AGAIN if isinstance(error, NOT_NOW) else _NO_USE


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
        if not isinstance(error, NOT_NOW):
            self.report(outage, error)

    def report(self, outage: "Outage", error: Exception) -> None:
        """Log the trouble, if it is not logged yet."""
        if self._logged:
            return
        self._logged = True
        log.error(
            "The backend %s: %s. %s: %s%s",
            "does not answer" if isinstance(error, NOT_NOW) else "fails",
            outage.consequence,
            type(error).__name__,
            f"{error}".rstrip(".") + ".",
            _advice(error),
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
