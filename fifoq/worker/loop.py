"""Async functions: they run in the worker's own loop, each in its own asyncio task."""

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from fifoq.worker.calling import read, write
from fifoq.worker.context import LeaseContext
from fifoq.worker.run import RUNAWAY, Run, Stop

CLOSES = 16
"""How many awaits of its clean-up a coroutine is thrown out of."""


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

    def __init__(self, site: Site) -> None:
        self._site = site
        self._limit = site.max_payload
        self.width = sys.maxsize
        self.taken = 0

    async def perform(self, run: Run) -> bytes:
        plan = run.plan
        args, kwargs = read(plan.decode, run.lease.spec.payload, self._limit)
        if plan.timeout is not None:
            run.begin()
        if plan.takes_context:
            value = await plan.function(self._site.context(run), *args, **kwargs)
        else:
            value = await plan.function(*args, **kwargs)
        return write(plan.encode, value, self._limit)

    def halt(self, run: Run, why: Stop) -> None:
        if run.task is not None:
            run.task.cancel(why.value)

    def abandon(self, run: Run) -> float:
        """Close a coroutine that swallows its cancellation: it would hold up the end of the loop for ever."""
        task = run.task
        if task is None or task.done():
            return 0.0
        task.add_done_callback(_forget)
        closed = _close(task.get_coro())
        task.cancel()
        return 0.0 if closed else RUNAWAY

    def close(self) -> None:
        pass


def _close(coroutine: Any) -> bool:
    for _ in range(CLOSES):
        try:
            coroutine.close()
        except RuntimeError:
            continue  # it awaits something in a `finally`
        except BaseException:
            return True  # it ended with an error
        return True
    return False


def _forget(task: asyncio.Task[None]) -> None:
    """Look at the error of a task whose coroutine was closed under it, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()
