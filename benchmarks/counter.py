"""Counts the jobs that ran in a round."""

import asyncio

from benchmarks.measure import Pace, Stopwatch


class JobCounter:
    """Counts the jobs that ran, and wakes the waiter when all of them have."""

    def __init__(self) -> None:
        self.left = 0
        self._done = asyncio.Event()

    def expect(self, jobs: int) -> None:
        self.left = jobs
        self._done.clear()

    def count(self) -> None:
        self.left -= 1
        if not self.left:
            self._done.set()

    async def all_ran(self) -> None:
        await self._done.wait()


class TimedJobCounter(JobCounter):
    """Measures the time from its first count to its last."""

    def __init__(self) -> None:
        super().__init__()
        self._watch: Stopwatch | None = None
        self._pace: Pace | None = None
        self._jobs = 0

    def count(self) -> None:
        if self._watch is None:
            self._jobs = self.left - 1
            self._watch = Stopwatch()
        elif self.left == 1:
            self._pace = self._watch.pace(self._jobs)
        super().count()

    def pace(self) -> Pace:
        assert self._pace is not None, "not all jobs ran"
        return self._pace
