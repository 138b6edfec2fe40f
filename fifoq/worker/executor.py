"""Runs claimed jobs in order, a limited number at a time, and reports one outcome for each. It does not settle them."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import copy_context
from time import monotonic
from types import coroutine
from typing import Any

from fifoq.record import Outcome, Succeed, fast_constructor
from fifoq.worker.log import job_started, routine
from fifoq.worker.outcomes import before_start, outcome_of, released
from fifoq.worker.run import Run, Stop

PREFETCH_SECONDS = 0.001
"""Prefetched jobs are expected to begin within this time."""
MAX_PREFETCHED = 10
PREFETCH_TIMEOUT = 0.02
"""Seconds after which a prefetched job that has not begun goes back to its place, where others may claim it."""
FIRST_ESTIMATE = 1.0
"""Seconds that a job is expected to take before any has ended. It takes some fifty short jobs to prove it wrong."""
SMOOTHING = 8
"""A job that is shorter than expected moves the estimate by one part in so many."""

Ended = Callable[[Run, Outcome | None], None]
Suspended = tuple[Coroutine[Any, Any, None], Any, Callable[..., Any]]
"""A coroutine that awaits something, the object that it awaits, and a function that runs each step in its context."""

_succeed = fast_constructor(Succeed)


class Prefetch:
    """
    Estimates how many jobs may be claimed beyond those that can run: some while jobs are short, else none.

    A long job counts at once and in full, short ones little by little.
    """

    def __init__(self) -> None:
        self.began_at = monotonic()
        """When the newest job began."""
        self._expected = FIRST_ESTIMATE

    def ended(self, seconds: float) -> None:
        """Note how long a job took."""
        expected = self._expected
        self._expected = seconds if seconds > expected else expected + (seconds - expected) / SMOOTHING

    def jobs(self, busy: bool) -> int:
        """
        How many jobs may be prefetched.

        `busy`: no more jobs may begin before one ends. If none began just now, those that run are not short: 0.
        """
        expected = self._expected
        if expected > PREFETCH_SECONDS or (busy and monotonic() - self.began_at > PREFETCH_SECONDS):
            return 0
        return min(MAX_PREFETCHED, int(PREFETCH_SECONDS / expected)) if expected > 0 else MAX_PREFETCHED


class Executor:
    """
    Runs jobs in the order in which they come, `width` at a time. Those for which there is no room yet are its backlog.

    `ended` is called once for each run: with its outcome, or with None if its lease was lost.

    A job gets an asyncio task of its own when it first suspends.
    """

    def __init__(self, width: int, ended: Ended) -> None:
        self._width = width
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._backlog: deque[Run] = deque()
        self._running = 0
        self._backlog_task: asyncio.Task[None] | None = None
        """Runs the backlog, until a job suspends. None: there is no such task, and a new one may be made."""
        self._prefetch = Prefetch()
        self._alarm: asyncio.TimerHandle | None = None
        self._logs_starts = False

    @property
    def taken(self) -> int:
        """How many jobs it runs or has in its backlog."""
        return self._running + len(self._backlog)

    def room(self, prefetch: bool) -> int:
        """How many more jobs may be claimed for it: those that can begin at once, and those that may be prefetched."""
        free = self._width - self._running - len(self._backlog)
        return free + self._prefetch.jobs(self._running >= self._width) if prefetch else free

    def start(self, runs: Sequence[Run]) -> None:
        """
        Begin with runs, in order, as soon as there is room.

        Those that have not begun within PREFETCH_TIMEOUT end as released.
        """
        now = monotonic()
        self._logs_starts = routine.isEnabledFor(logging.DEBUG)
        for run in runs:
            run.taken_at = now
        self._backlog.extend(runs)
        self._begin()
        if self._backlog and self._alarm is None:
            self._alarm = self._loop.call_later(PREFETCH_TIMEOUT, self._check_backlog)

    def hand_back(self) -> None:
        """Release the backlog: its jobs go back to their places."""
        backlog, self._backlog = self._backlog, deque()
        for run in backlog:
            self._ended(run, None if run.stopped is Stop.LOST else released(run))

    def abandon(self, run: Run, outcome: Outcome | None) -> None:
        """End a run whose function does not stop. An outcome that the function has later is dropped."""
        self._running -= 1
        run.seconds = monotonic() - run.taken_at
        self._ended(run, outcome)

    def _check_backlog(self) -> None:
        """Hand back jobs that wait behind one that is long after all: another worker may have room."""
        self._alarm = None
        if not self._backlog:
            return
        waited = monotonic() - self._backlog[0].taken_at
        if waited >= PREFETCH_TIMEOUT and self._running >= self._width:
            self.hand_back()
        else:
            pause = max(PREFETCH_TIMEOUT - waited, PREFETCH_TIMEOUT / 10)
            self._alarm = self._loop.call_later(pause, self._check_backlog)

    def _begin(self) -> None:
        """Begin with those of the backlog for which there is room."""
        if self._backlog_task is not None or not self._backlog or self._running >= self._width:
            return
        if len(self._backlog) == 1:
            self._begin_each()
            return
        self._backlog_task = asyncio.Task(self._run_backlog(), loop=self._loop, name="fifoq: runs jobs")

    def _begin_each(self) -> None:
        while (run := self._next()) is not None:
            run.task = asyncio.Task(self._work(run), loop=self._loop, name=run.plan.name)

    def _next(self) -> Run | None:
        """Take the first run off the backlog, if there is room for it."""
        if not self._backlog or self._running >= self._width:
            return None
        self._running += 1
        return self._backlog.popleft()

    async def _run_backlog(self) -> None:
        """
        Run jobs one after the other as long as they end without suspending.

        The first that suspends keeps this task for itself, and each of the rest gets its own: so a cancel or a timeout
        can never hit another job, and a job that needs no task costs none (3 of 11 µs).
        """
        task = self._backlog_task
        assert task is not None
        try:
            suspended = self._run_until_one_suspends(task)
        finally:
            self._backlog_task = None
            self._begin_each()
        if suspended is not None:
            await _resume(*suspended)

    def _run_until_one_suspends(self, task: asyncio.Task[None]) -> Suspended | None:
        """Run jobs of the backlog in `task` until one suspends, and return that one."""
        while (run := self._next()) is not None:
            run.task = task
            work, step = self._work(run), copy_context().run
            try:
                return work, step(work.send, None), step
            except StopIteration:
                # The job may have cancelled its own task. The next job must not get that cancellation.
                if task.cancelling():
                    break
        return None

    async def _work(self, run: Run) -> None:
        run.started = True
        prefetch = self._prefetch
        prefetch.began_at = began_at = monotonic()
        if run.stopped is None and began_at >= run.deadline:
            # The whole process was frozen after the claim: another worker may have the job by now.
            run.stopped = Stop.UNREACHABLE
        lease = run.lease
        outcome = None
        if lease.crashes or lease.damage is not None or run.stopped is not None:
            outcome = before_start(run)
        if outcome is None and run.stopped is None:
            if self._logs_starts:
                job_started(run)
            try:
                outcome = _succeed((await run.plan.runner.perform(run), run.plan.results_kept))
            except BaseException as error:
                if run.ended or self._loop.is_closed():
                    return  # Its coroutine was closed, by `Runner.abandon` or with the loop: no outcome of it counts.
                # A SystemExit or KeyboardInterrupt that a job raises is that job's error: asyncio would end the loop.
                outcome = outcome_of(run, error)
        if run.ended:
            return  # It was abandoned.
        self._running -= 1
        run.seconds = seconds = monotonic() - began_at
        prefetch.ended(seconds)
        self._ended(run, None if run.stopped is Stop.LOST else outcome)
        self._begin()


@coroutine
def _resume(work: Coroutine[Any, Any, None], awaited: Any, step: Callable[..., Any]) -> Generator[Any, Any, None]:
    """Await a started coroutine, which awaits `awaited` now; `step` runs each of its steps in its context."""
    with contextlib.suppress(StopIteration):
        while True:
            try:
                value = yield awaited
            except BaseException as error:
                awaited = step(work.throw, error)
            else:
                awaited = step(work.send, value)
