"""
How fast jobs go through a worker, and how many it may therefore claim ahead of those that it runs.

A worker that runs one short job at a time would wait for the store after each. While its jobs end within moments, it
claims those that will begin within the next moment, too: they wait in its line instead of the store's.
"""

from time import monotonic

AHEAD = 0.001
"""Seconds: what is claimed ahead is expected to begin within this time."""
MOST = 10
"""Jobs claimed ahead, at most."""
PATIENCE = 0.02
"""Seconds: what has not begun by then, whatever was expected, goes back to its place for others."""
UNKNOWN = 1.0
"""Seconds that a job is thought to take while nothing is known: some fifty have to prove it wrong."""
SLOWNESS = 8
"""A shorter job counts for one part in so many."""


class Pace:
    """What is known of the jobs of one worker: a long one counts at once and in full, short ones little by little."""

    def __init__(self) -> None:
        self.began_at = monotonic()
        """When the last job began."""
        self._expected = UNKNOWN

    def ended(self, seconds: float) -> None:
        """Note how long a job took."""
        expected = self._expected
        self._expected = seconds if seconds > expected else expected + (seconds - expected) / SLOWNESS

    def ahead(self, busy: bool) -> int:
        """
        How many jobs may be claimed beyond those that run.

        `busy`: nothing more may begin before something ends. None, if nothing did just now: what runs is not short.
        """
        expected = self._expected
        if expected > AHEAD or (busy and monotonic() - self.began_at > AHEAD):
            return 0
        return min(MOST, int(AHEAD / expected)) if expected > 0 else MOST
