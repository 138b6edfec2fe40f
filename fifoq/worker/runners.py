"""Async functions: they run in the worker's own loop, each in its own asyncio task."""

import asyncio
import contextvars
import logging
import sys
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

from fifoq.task.context import LeaseContext
from fifoq.worker.outcomes import thread_timed_out
from fifoq.worker.run import RUNAWAY, Run, Stop, read, write

CLOSES = 16
"""How many awaits of its clean-up a coroutine is thrown out of."""


class RunnerContext(NamedTuple):
    """What is the same for every function that a worker runs."""

    worker: str
    """The worker's name."""
    resources: Any
    report: Callable[[Run, bytes], None]
    """Takes a job's progress, from any thread."""

    def context(self, run: Run) -> LeaseContext:
        """Make the Context of a run."""
        return LeaseContext(
            run.lease,
            run.queue,
            self.worker,
            self.resources,
            partial(self.report, run),
            lambda: run.stopped is not None,
        )


class LoopRunner:
    """The place of async functions. It takes as many as the worker does."""

    def __init__(self, site: RunnerContext) -> None:
        self._site = site
        self.width = sys.maxsize
        self.taken = 0

    async def perform(self, run: Run) -> bytes:
        plan = run.plan
        args, kwargs = read(plan.decode, run.lease.spec.payload)
        if plan.timeout is not None:
            run.begin()
        if plan.takes_context:
            value = await plan.function(self._site.context(run), *args, **kwargs)
        else:
            value = await plan.function(*args, **kwargs)
        return write(plan.encode, value)

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


log = logging.getLogger("fifoq.worker")

Work = tuple[asyncio.Future[bytes], Callable[[], bytes]]


class Threads:
    """Threads that are made when there is work for them, and wait for more of it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def submit(self, call: Callable[[], bytes]) -> asyncio.Future[bytes]:
        """Call it in a thread; what it returns or raises is the future's. On the loop only."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._busy += 1
        if self._busy > len(self._threads):
            self._make_one()
        self._work.put((future, call))
        return future

    def close(self) -> None:
        """Let every thread end after the work that it has."""
        for _ in self._threads:
            self._work.put(None)
        self._threads.clear()

    def _make_one(self) -> None:
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            future, call = work
            try:
                result, error = call(), None
            except BaseException as raised:  # a SystemExit is the job's end, not the thread's
                result, error = b"", raised
            try:
                future.get_loop().call_soon_threadsafe(self._deliver, future, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits for this any more
            # A thread that waits for work must not keep the last one's values alive.
            del work, future, call, result, error

    def _deliver(self, future: asyncio.Future[bytes], result: bytes, error: BaseException | None) -> None:
        self._busy -= 1
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(_settable(error))


def _settable(error: BaseException) -> BaseException:
    """A future takes no StopIteration."""
    if not isinstance(error, StopIteration):
        return error
    wrapped = RuntimeError("the function raised StopIteration")
    wrapped.__cause__ = error
    return wrapped


class ThreadRunner:
    """
    The place of sync functions.

    A thread cannot be stopped: whatever the reason, its job ends when the function returns. Until then its lease is
    kept, its key stays closed, and it counts against the width. A function that reads `ctx.cancelled` can return early.
    """

    def __init__(self, site: RunnerContext, width: int) -> None:
        self._site = site
        self._threads = Threads("fifoq-thread")
        self.width = width
        self.taken = 0

    async def perform(self, run: Run) -> bytes:
        run.begin()
        context = contextvars.copy_context()
        result = await self._threads.submit(lambda: context.run(self._call, run))
        if run.stopped is Stop.TIMEOUT:
            raise thread_timed_out(run)
        return result

    def halt(self, run: Run, why: Stop) -> None:
        level = logging.WARNING if why is Stop.TIMEOUT else logging.INFO
        log.log(
            level,
            "Task %r is to stop (%s), but it is a sync function, and a thread cannot be stopped: job %s holds its key "
            "and its place in its limits until the function returns. Check ctx.cancelled in it, give what it calls a "
            'timeout, or use run_in="process".',
            run.plan.name,
            why.value,
            run.lease.spec.id,
        )

    def abandon(self, run: Run) -> float:
        return RUNAWAY

    def close(self) -> None:
        self._threads.close()

    def _call(self, run: Run) -> bytes:
        plan = run.plan
        args, kwargs = read(plan.decode, run.lease.spec.payload)
        value: Any
        if plan.takes_context:
            value = plan.function(self._site.context(run), *args, **kwargs)
        else:
            value = plan.function(*args, **kwargs)
        return write(plan.encode, value)
