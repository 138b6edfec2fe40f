"""One lease, one outcome. It knows no storage: where the outcome goes is not its business."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import copy_context
from time import monotonic
from types import coroutine
from typing import Any

from fifoq.clock import SECOND
from fifoq.record import Fail, Outcome, Retry, Succeed, fast_constructor
from fifoq.worker.outcomes import before_start, message_of, released, verdict
from fifoq.worker.run import Run, Stop

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


log = logging.getLogger("fifoq.worker")

_succeed = fast_constructor(Succeed)

Ended = Callable[[Run, Outcome | None], None]
Suspended = tuple[Coroutine[Any, Any, None], Any, Callable[..., Any]]
"""A coroutine that awaits something, what that is, and what runs each of its steps in its context."""


class Executor:
    """
    Runs jobs in the order in which they come, so many at a time, and says of each how it ended.

    Each is in an asyncio task of its own from where it first suspends. Those that have no room yet stand in line.
    """

    def __init__(self, width: int, ended: Ended) -> None:
        self._width = width
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._line: deque[Run] = deque()
        self._running = 0
        self._carrier: asyncio.Task[None] | None = None
        """What is about to begin with those in line."""
        self._pace = Pace()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def ahead(self) -> int:
        """How many jobs it takes beyond those that it runs."""
        return self._pace.ahead(self._running >= self._width)

    def start(self, runs: Sequence[Run]) -> None:
        """
        Begin with runs, in order, as soon as there is room.

        `ended` is called for each that is through, with None for a lost lease, and for each that did not get its turn
        within PATIENCE.
        """
        now = monotonic()
        for run in runs:
            run.taken_at = now
        self._line.extend(runs)
        self._begin()
        if self._line and self._alarm is None:
            self._alarm = self._loop.call_later(PATIENCE, self._look)

    def hand_back(self) -> None:
        """Give up those in line: they go back to their places."""
        line, self._line = self._line, deque()
        for run in line:
            run.ended = True
            self._ended(run, None if run.stopped is Stop.LOST else released(run))

    def _look(self) -> None:
        """Nobody waits long behind a job that turned out to be: another worker may have room."""
        self._alarm = None
        if not self._line:
            return
        waited = monotonic() - self._line[0].taken_at
        if waited >= PATIENCE and self._running >= self._width:
            self.hand_back()
        else:
            self._alarm = self._loop.call_later(max(PATIENCE - waited, PATIENCE / 10), self._look)

    def _begin(self) -> None:
        """Begin with those in line that there is room for."""
        if self._carrier is not None or not self._line or self._running >= self._width:
            return
        if len(self._line) == 1:
            self._begin_each()
            return
        self._carrier = asyncio.Task(self._carry(), loop=self._loop, name="fifoq: runs jobs")

    def _begin_each(self) -> None:
        while (run := self._next()) is not None:
            run.task = asyncio.Task(self._work(run), loop=self._loop, name=run.plan.name)

    def _next(self) -> Run | None:
        """The first in line, if there is room for it."""
        if not self._line or self._running >= self._width:
            return None
        self._running += 1
        return self._line.popleft()

    async def _carry(self) -> None:
        """
        Run jobs one after the other as long as they end without suspending.

        The first that suspends keeps this task for itself, and each of the rest gets its own: so a cancel or a timeout
        can never hit another job, and a job that needs no task costs none (3 of 11 µs).
        """
        carrier = self._carrier
        assert carrier is not None
        try:
            suspended = self._run_line(carrier)
        finally:
            self._carrier = None
            self._begin_each()
        if suspended is not None:
            await _go_on(*suspended)

    def _run_line(self, carrier: asyncio.Task[None]) -> Suspended | None:
        """Run those in line until one suspends, and return that one."""
        while (run := self._next()) is not None:
            run.task = carrier
            work, step = self._work(run), copy_context().run
            try:
                return work, step(work.send, None), step
            except StopIteration:
                # A job may have cancelled its own task: that is not for the next one.
                if carrier.cancelling():
                    break
        return None

    async def _work(self, run: Run) -> None:
        run.started = True
        pace = self._pace
        pace.began_at = began_at = monotonic()
        if run.stopped is None and began_at >= run.deadline:
            # Claimed, and then the whole process was frozen: somebody else may have the job by now.
            run.stopped = Stop.UNREACHABLE
        outcome = before_start(run) if run.lease.crashes or run.stopped is not None else None
        if outcome is None and run.stopped is None:
            try:
                outcome = _succeed((await run.plan.place.perform(run), run.plan.results_kept))
            except GeneratorExit:
                return  # somebody closed the coroutine: there is nobody left to tell
            except BaseException as error:
                # A SystemExit or KeyboardInterrupt that a job raises is that job's error: asyncio would end the loop.
                outcome = verdict(run, error)
                _log(run, error, outcome)
        if run.ended:
            return  # the worker has given up on it
        run.ended = True
        if run.timer is not None:
            run.timer.cancel()
        self._running -= 1
        pace.ended(monotonic() - began_at)
        self._ended(run, None if run.stopped is Stop.LOST else outcome)
        self._begin()


@coroutine
def _go_on(work: Coroutine[Any, Any, None], awaited: Any, step: Callable[..., Any]) -> Generator[Any, Any, None]:
    """Await a coroutine that awaits `awaited`, having run so far; `step` runs each of its steps in its context."""
    with contextlib.suppress(StopIteration):
        while True:
            try:
                value = yield awaited
            except BaseException as error:
                awaited = step(work.throw, error)
            else:
                awaited = step(work.send, value)


def _log(run: Run, error: BaseException, outcome: Outcome | None) -> None:
    if not isinstance(outcome, Fail | Retry):
        return
    level, then = logging.WARNING, "failed"
    if isinstance(outcome, Retry):
        level, then = logging.INFO, f"is tried again in {outcome.after / SECOND:.3g} s"
    # %r: what an exception says may come from anywhere, and must not forge or break lines of the log.
    log.log(
        level,
        "Job %s of task %r %s: attempt %d: %s: %.200r",
        run.lease.spec.id,
        run.plan.definition.name,
        then,
        run.lease.attempt,
        type(error).__name__,
        message_of(error),
    )
