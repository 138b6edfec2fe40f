"""Time as the backends see it: whole microseconds, never backwards."""

import time
from typing import Protocol

SECOND = 1_000_000
"""One second in the unit of every time and duration at the seam."""


class Clock(Protocol):
    """Where a backend takes its time from. A test hands in its own."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        ...


class HostClock:
    """The wall clock of this machine."""

    def now(self) -> int:
        return time.time_ns() // 1_000


class ProcessClock:
    """The wall time of its making, carried on by the monotonic clock: nobody can set it back."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        return (self._offset + time.monotonic_ns()) // 1_000


def run_on(wall: int, last: int, offset: int) -> tuple[int, int]:
    """
    Return (now, offset): the time of a store whose clock may have been set back.

    `wall` is what the clock says, `last` the last time that the store used, `offset` how far it runs ahead of the
    clock. When the clock was set back, time neither jumps back nor stands still: it runs on from `last`.
    """
    now = wall + offset
    if now < last:
        return last, offset + last - now
    return now, offset


def microseconds(seconds: float) -> int:
    """A duration in seconds as whole microseconds, rounded up: nothing falls due too early."""
    return -(-round(seconds * 1e9) // 1_000)
