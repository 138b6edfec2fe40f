"""The clocks of backends: whole microseconds, never backwards; and the steps of a clock that is set."""

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

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


# ---- steps ahead ----

TOLERANCE = 50_000
"""Microseconds by which a clock may differ from the monotonic one without a step: it may be read a little later."""
_BETWEEN = 5_000
"""Microseconds that may pass between two readings of the monotonic clock around one of the other."""


class SteppedClock:
    """
    A clock read together with the monotonic clock of its machine, which is never set, and stands while that sleeps.

    A time of a store may compare the two: see `gained`. `origin` names the start of the monotonic clock, because two
    readings compare only if they have the same. A clock of a test that has a method `monotonic` is its own monotonic
    clock: its time passes by that, and steps by all else.
    """

    def __init__(self, clock: Clock) -> None:
        self.now = clock.now
        own = getattr(clock, "monotonic", None)
        self._monotonic = _monotonic if own is None else cast("Callable[[], int]", own)
        self.origin = _boot() if own is None else f"{type(clock).__name__} {id(clock)} in {_process}"

    def read(self) -> tuple[int, int]:
        """Return the times of both clocks, read at the same moment."""
        monotonic = self._monotonic
        before, now = monotonic(), self.now()
        for _ in range(3):
            if monotonic() - before <= _BETWEEN:
                break
            before, now = monotonic(), self.now()  # this thread stood between the two
        return now, before


def gained(now: int, monotonic: int, lead: int) -> int:
    """
    Return by how much a store's time has stepped ahead, or back, of the monotonic clock; 0 if that is within tolerance.

    `lead` is by how much it was ahead of that before.
    """
    gain = now - monotonic - lead
    return 0 if -TOLERANCE <= gain <= TOLERANCE else gain


def _monotonic() -> int:
    return time.monotonic_ns() // 1_000


_process = f"process {os.getpid()} {secrets.token_hex(8)}"


def _boot() -> str:
    """Return the name of this boot and of the namespace of times; elsewhere than on Linux, of this process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = Path("/proc/self/ns/time")
        return f"{boot} {os.readlink(namespace)}" if namespace.exists() else boot
    except OSError:
        return _process


def seconds_of(value: object) -> float:
    """Return a duration as seconds. Raises ValueError, naming the value, if it is not within the range of durations."""
    if isinstance(value, int | float) and 0 <= value <= MAX_SECONDS:
        return float(value)
    raise ValueError(f"is {DURATION}, not {value!r}.")


def microseconds(seconds: float) -> int:
    """Return a duration in seconds as whole microseconds, rounded up: nothing falls due too early."""
    return -(-round(seconds * 1e9) // 1_000)
