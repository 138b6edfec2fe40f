"""A clock that stands still until a test moves it."""

from fifoq.clock import microseconds

START = 1_750_000_000_000_000
"""Where a ManualClock starts unless told otherwise: some moment in 2025, in microseconds since 1970-01-01 UTC."""


class ManualClock:
    """
    The time of a test: it moves when told to, and only then.

        clock = ManualClock()
        backend = make_backend(clock)
        clock.advance(15)          # every lease of 15 s is past its end now

    A backend may read it from any thread.
    """

    def __init__(self, now: int = START) -> None:
        self._now = now

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`, rounded up to whole microseconds."""
        self._now += microseconds(seconds)

    def set(self, microseconds: int) -> None:
        """Jump to `microseconds` since 1970-01-01 UTC, back as well as ahead: as when somebody sets a host's clock."""
        self._now = microseconds

    def __repr__(self) -> str:
        return f"ManualClock({self._now})"
