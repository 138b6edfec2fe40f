"""A clock that moves only when a test moves it."""

from fifoq.clock import microseconds

START = 1_750_000_000_000_000
"""The default start of a ManualClock: a moment in 2025, in microseconds since 1970-01-01 UTC."""


class ManualClock:
    """
    The time of a test: it moves by `advance` and `set`, and only then.

        clock = ManualClock()
        backend = make_backend(clock)
        clock.advance(15)          # every lease of 15 s is past its end now

    A backend may read it from any thread.
    """

    def __init__(self, now: int = START) -> None:
        self._now = now
        self._passed = 0

    def now(self) -> int:
        """Return the microseconds since 1970-01-01 UTC."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`, rounded up to whole microseconds."""
        self._now += microseconds(seconds)
        self._passed += microseconds(seconds)

    def monotonic(self) -> int:
        """Return the microseconds for which time has passed: `set` does not count."""
        return self._passed

    def set(self, microseconds: int) -> None:
        """Jump to `microseconds` since 1970-01-01 UTC, back or ahead, as if the clock of a host were set."""
        self._now = microseconds

    def __repr__(self) -> str:
        return f"ManualClock({self._now})"
