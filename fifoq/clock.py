"""The clocks of backends: whole microseconds, never backwards."""

import time
from typing import Protocol

SECOND = 1_000_000
"""One second in the unit of all times and durations of the backend protocol."""
MAX_SECONDS = 3_162_240_000.0
"""
Seconds of the longest duration: a hundred years of 366 days. A longer one is a mistake, and a time that far away would
not fit into the integers that every store holds exactly.
"""
DURATION = f"a number of seconds, zero or more and at most {MAX_SECONDS:.0f} (100 years)"
"""The range of all durations, as errors name it."""


class Clock(Protocol):
    """The source of a backend's time. A test replaces it."""

    def now(self) -> int:
        """Return the microseconds since 1970-01-01 UTC."""
        ...


class HostClock:
    """The wall clock of this machine."""

    def now(self) -> int:
        return time.time_ns() // 1_000


class ProcessClock:
    """The wall time of its making, carried on by the monotonic clock: it cannot be set back."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        return (self._offset + time.monotonic_ns()) // 1_000


def run_on(wall: int, last: int, offset: int) -> tuple[int, int]:
    """
    Return (now, offset): the time of a store whose clock may have been set back.

    `wall` is the time of the clock, `last` the last time that the store used, `offset` the lead of the store over the
    clock. When the clock was set back, the store's time neither jumps back nor stops: it runs on from `last`.
    """
    now = wall + offset
    if now < last:
        return last, offset + last - now
    return now, offset


def seconds_of(value: object) -> float:
    """Return a duration as seconds. Raises ValueError, naming the value, if it is not within the range of durations."""
    if isinstance(value, int | float) and 0 <= value <= MAX_SECONDS:
        return float(value)
    raise ValueError(f"is {DURATION}, not {value!r}.")


def microseconds(seconds: float) -> int:
    """Return a duration in seconds as whole microseconds, rounded up: nothing falls due too early."""
    return -(-round(seconds * 1e9) // 1_000)
