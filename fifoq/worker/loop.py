"""Async functions: they run in the worker's own loop, each in its own asyncio task."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from fifoq.worker.calling import read, write
from fifoq.worker.context import LeaseContext
from fifoq.worker.run import Run, Stop


class Site(NamedTuple):
    """What is the same for every function that a worker runs."""

    worker: str
    """The worker's name."""
    resources: Any
    max_payload: int
    report: Callable[[Run, bytes], None]
    """Takes a job's progress, from any thread."""

    def context(self, run: Run) -> LeaseContext:
        """Make the Context of a run."""
        return LeaseContext(
            run.lease,
            run.desk.name,
            self.worker,
            self.resources,
            partial(self.report, run),
            lambda: run.stopped is not None,
        )


class InLoop:
    """The place of async functions. It takes as many as the worker does."""

    def __init__(self, site: Site, width: int) -> None:
        self._site = site
        self._limit = site.max_payload
        self.width = width
        self.taken = 0

    async def perform(self, run: Run) -> bytes:
        plan = run.plan
        args, kwargs = read(plan.decode, run.lease.spec.payload, self._limit)
        run.begin()
        if plan.takes_context:
            value = await plan.function(self._site.context(run), *args, **kwargs)
        else:
            value = await plan.function(*args, **kwargs)
        return write(plan.encode, value, self._limit)

    def halt(self, run: Run, why: Stop) -> None:
        if run.task is not None:
            run.task.cancel(why.value)

    def close(self) -> None:
        pass
