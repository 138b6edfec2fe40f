"""One lease, one outcome. It knows no storage: where the outcome goes is not its business."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from contextvars import copy_context
from time import monotonic
from types import coroutine
from typing import Any

from fifoq.clock import SECOND
from fifoq.lease import Fail, Outcome, Retry, Succeed
from fifoq.quick import quick
from fifoq.worker.run import Run, Stop
from fifoq.worker.verdict import before_start, message_of, verdict

log = logging.getLogger("fifoq.worker")

_succeed = quick(Succeed)

Ended = Callable[[Run, Outcome | None], None]


class Executor:
    """Runs jobs, each in an asyncio task of its own from where it first suspends, and says of each how it ended."""

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        self._loop = asyncio.get_running_loop()

    def start(self, runs: Sequence[Run]) -> None:
        """Begin with runs, in order. `ended` is called for each that is through, with None for a lost lease."""
        if len(runs) == 1:
            self._start_each(runs)
            return
        task = asyncio.Task(self._carry(runs), loop=self._loop, name=runs[0].plan.definition.name)
        for run in runs:
            run.task = task

    def _start_each(self, runs: Iterable[Run]) -> None:
        for run in runs:
            run.task = asyncio.Task(self._work(run), loop=self._loop, name=run.plan.definition.name)

    async def _carry(self, runs: Sequence[Run]) -> None:
        """
        Run jobs one after the other as long as they end without suspending.

        The first that suspends keeps this task for itself, and each of the rest gets its own: so a cancel or a timeout
        can never hit another job, and a job that needs no task costs none (3 of 11 µs).
        """
        left = iter(runs)
        carrier = asyncio.current_task(self._loop)
        assert carrier is not None
        try:
            for run in left:
                work, step = self._work(run), copy_context().run
                try:
                    awaited = step(work.send, None)
                except StopIteration:
                    # A job may have cancelled its own task: that is not for the next one.
                    if carrier.cancelling():
                        return
                    continue
                self._start_each(left)
                await _go_on(work, awaited, step)
                return
        finally:
            self._start_each(left)

    async def _work(self, run: Run) -> None:
        run.started = True
        if run.stopped is None and monotonic() >= run.deadline:
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
        self._ended(run, None if run.stopped is Stop.LOST else outcome)


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
