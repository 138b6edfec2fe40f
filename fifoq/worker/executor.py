"""One lease, one outcome. It knows no storage: where the outcome goes is not its business."""

import asyncio
import logging
from collections.abc import Callable

from fifoq.clock import SECOND
from fifoq.lease import Fail, Outcome, Retry, Succeed
from fifoq.worker.run import Run, Stop
from fifoq.worker.verdict import before_start, message_of, verdict

log = logging.getLogger("fifoq.worker")

Ended = Callable[[Run, Outcome | None], None]


class Executor:
    """Runs jobs, each in an asyncio task of its own, and says of each how it ended."""

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        self._loop = asyncio.get_running_loop()

    def start(self, run: Run) -> None:
        """Begin with a run. `ended` is called once it is through, with None if the outcome is not this worker's."""
        # A task for each job: 0.9 µs more than a fixed set of tasks that take turns, and in return a job has its own
        # context variables, and a late cancel or a timeout can never hit the job that comes after it.
        run.task = asyncio.Task(self._work(run), loop=self._loop, name=run.plan.definition.name)

    async def _work(self, run: Run) -> None:
        run.started = True
        outcome = before_start(run) if run.lease.crashes or run.stopped is not None else None
        if outcome is None and run.stopped is None:
            try:
                outcome = Succeed(await run.plan.place.perform(run), run.plan.results_kept)
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
