"""
The claims that the server may make ahead for the callers of one queue: when each was left there, and what came of it.
"""

import time


class Standing:
    """
    One caller's claims, as far as the next one may be made ahead.

    What was leased ahead may be under way for long, or wait here while the loop is busy: its leases count from the
    moment at which the claim was left with the server.
    """

    __slots__ = ("_asked", "_granted", "_number", "_sent", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        """From when the leases of the newest call count (`time.monotonic()`), if the server may have made it ahead."""
        self._number = 0
        self._sent = 0.0
        self._asked: float | None = None
        self._granted: tuple[int, bytes] = (0, b"")

    @property
    def stands(self) -> bool:
        """Whether the server may make the next call."""
        return self._asked is not None

    @property
    def next(self) -> int:
        """The number of the next call."""
        return self._number + 1

    def begin(self, number: int) -> bytes:
        """Make a call, or repeat it; return the reply if it has been told already."""
        if number != self._number:
            self._number, self._sent = number, time.monotonic()
            self.since, self._asked = self._asked, None
        granted, reply = self._granted
        return reply if granted == number else b""

    def left(self) -> None:
        """The newest call has left the next one with the server."""
        self._asked = self._sent

    def leaving(self) -> float:
        """The next call is about to be left there, perhaps once more; return the time."""
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
        return now

    def left_at(self, number: int, at: float) -> None:
        """It was left there then, and had not been made before."""
        if number == self.next:
            self._asked = at

    def grant(self, number: int, reply: bytes) -> None:
        """The server has made the call with this number."""
        if number >= self._number:
            self._granted = (number, reply)
