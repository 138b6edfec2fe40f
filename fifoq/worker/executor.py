"""One lease, one outcome. It knows no storage: where the outcome goes is not its business."""

import asyncio
import logging
from collections.abc import Callable

from fifoq.lease import Outcome, Succeed
from fifoq.worker.run import Run, Stop
from fifoq.worker.verdict import crash_budget_spent, message_of, stopped_before_start, verdict

log = logging.getLogger("fifoq.worker")

Ended = Callable[[Run, Outcome | None], None]


class Executor:
    """Runs jobs, each in an asyncio task of its own, and says of each how it ended."""

    def __init__(self, ended: Ended) -> None:
        self._ended = ended

    def start(self, run: Run) -> None:
        """Begin with a run. `ended` is called once it is through, with None if the outcome is not this worker's."""
        # A task for each job: 0.9 µs more than a fixed set of tasks that take turns, and in return a job has its own
        # context variables, and a late cancel or a timeout can never hit the job that comes after it.
        run.task = asyncio.Task(self._work(run), name=run.plan.definition.name)

    async def _work(self, run: Run) -> None:
        run.started = True
        try:
            outcome = await self._outcome(run)
        except GeneratorExit:
            return  # somebody closed the coroutine: there is nobody left to tell
        if not run.ended:  # else the worker has given up on it
            run.end()
            self._ended(run, outcome)

    async def _outcome(self, run: Run) -> Outcome | None:
        if run.stopped is not None:
            return stopped_before_start(run)
        if run.lease.crashes and (failure := crash_budget_spent(run)):
            return failure
        try:
            result = await run.plan.place.perform(run)
        except GeneratorExit:
            raise
        except BaseException as error:
            # A SystemExit or KeyboardInterrupt that a job raises is that job's error: asyncio would end the loop.
            _log_error(run, error)
            return verdict(run, error)
        return Succeed(result, run.plan.results_kept) if run.held else None


def _log_error(run: Run, error: BaseException) -> None:
    if run.stopped is None or run.stopped is Stop.TIMEOUT:
        log.info(
            "Job %s of task %r, attempt %d: %s: %.200r",
            run.lease.spec.id,
            run.plan.definition.name,
            run.lease.attempt,
            type(error).__name__,
            message_of(error),
        )
