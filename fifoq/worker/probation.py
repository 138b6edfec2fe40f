"""
Probation: a job whose worker died begins alone, so that its next crash is charged to it and not to its companions.

A lease that ended unsettled does not show which of the worker's jobs was to blame, so each of them is a suspect. While
a suspect is on probation the worker begins nothing else.
"""

import asyncio
from collections.abc import Callable, Sequence

from fifoq.worker.run import Run

PROBATION = 1.0
"""Seconds for which a suspect is on probation, unless it ends before. Jobs that kill do so soon, or by growing."""
LAST_PROBATION = 15.0
"""The same for a job on its last chance: its next crash would fail it."""


def is_suspect(run: Run) -> bool:
    """Whether a worker died, or lost the lease, while it held the job. One that is out of crashes does not begin."""
    return 0 < run.lease.crashes < run.plan.definition.max_crashes


def on_last_chance(run: Run) -> bool:
    """Whether the next crash would fail the job."""
    return run.lease.crashes == run.plan.definition.max_crashes - 1


class Probation:
    """The suspects of one worker. `over` is called when it may claim again."""

    def __init__(self, over: Callable[[], None]) -> None:
        self._over = over
        self.pending: Run | None = None
        """The job that begins once the worker has handed back all other jobs that have not begun."""
        self.current: Run | None = None
        """The job on probation."""
        self._last_chance: Run | None = None
        """The job on its last chance that runs here. No suspect begins beside it."""
        self._timer: asyncio.TimerHandle | None = None
        self.expected = False
        """The newest claim brought suspects, so the next one is for one job, which begins alone."""

    @property
    def begins_nothing(self) -> bool:
        """Whether no other job may begin now."""
        return self.pending is not None or self.current is not None

    def choose(self, runs: Sequence[Run]) -> tuple[Run | None, list[Run]]:
        """
        Return the job of a claim that is to begin alone, or None, and the suspects that may not begin now.

        After a claim with suspects the next job begins alone even if it is none: others are about, and it may kill.
        """
        suspects = [run for run in runs if is_suspect(run)]
        alone = suspects or (runs if self.expected else [])
        self.expected = bool(suspects)
        if self._last_chance is not None:
            return None, suspects
        if alone:
            self.pending = alone[0]
        return self.pending, []

    def begin(self) -> Run | None:
        """Put the pending job on probation, and return it."""
        run, self.pending = self.pending, None
        if run is None:
            return None
        last = is_suspect(run) and on_last_chance(run)
        self.current = run
        self._last_chance = run if last else None
        self._timer = asyncio.get_running_loop().call_later(LAST_PROBATION if last else PROBATION, self._end)
        return run

    def ended(self, run: Run) -> None:
        """Note that a job ended."""
        if run is self._last_chance:
            self._last_chance = None
        if run is self.current:
            self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.current = self._timer = None
        self._over()
