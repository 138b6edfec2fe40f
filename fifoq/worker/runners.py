"""Runners for functions in the worker's own process: async ones in its event loop, sync ones in threads."""

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
from fifoq.task.waiting import running
from fifoq.worker.log import fields, log
from fifoq.worker.outcomes import timed_out
from fifoq.worker.run import RUNAWAY, Run, Stop, read, write

MAX_CLOSES = 16
"""How often a coroutine is closed if it awaits something in its clean-up each time."""

Work = tuple[asyncio.Future[bytes], Callable[[], bytes]]


class RunnerContext(NamedTuple):
    """The values that all functions of a worker share."""

    worker: str
    """The worker's name."""
    resources: Any
    report: Callable[[Run, bytes], None]
    """Takes a job's progress, from any thread."""

    def of(self, run: Run) -> LeaseContext:
        """Return the Context of a run."""
        return LeaseContext(
            run.lease,
            run.queue,
            self.worker,
            self.resources,
            partial(self.report, run),
            lambda: run.stopped is not None,
        )


# ---- in the event loop ----


class LoopRunner:
    """Runs async functions in the worker's event loop: as many as the worker may run."""

    def __init__(self, context: RunnerContext) -> None:
        self._context = context
        self.width = sys.maxsize
        self.taken = 0

    async def perform(self, run: Run) -> bytes:
        plan = run.plan
        running.set(run)
        args, kwargs = read(plan.decode, run.lease.spec.payload)
        if plan.timeout is not None:
            run.begin()
        if plan.takes_context:
            value = await plan.function(self._context.of(run), *args, **kwargs)
        else:
            value = await plan.function(*args, **kwargs)
        return write(plan.encode, value)

    def stop(self, run: Run, why: Stop) -> None:
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
    for _ in range(MAX_CLOSES):
        try:
            coroutine.close()
        except RuntimeError:
            continue  # it awaits something in a `finally`
        except BaseException:
            return True  # it ended with an error
        return True
    return False


def _forget(task: asyncio.Task[None]) -> None:
    """Read the error of a task whose coroutine was closed under it, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()


# ---- in threads ----


class ThreadRunner:
    """
    Runs sync functions in threads.

    A thread cannot be stopped: whatever the reason, its job ends when the function returns. Until then its lease is
    extended, its key stays closed, and it counts against the width. A function that reads `ctx.cancelled` can return
    early.
    """

    def __init__(self, context: RunnerContext, width: int) -> None:
        self._context = context
        self._threads = Threads("fifoq-thread")
        self.width = width
        self.taken = 0

    async def perform(self, run: Run) -> bytes:
        run.begin()
        running.set(run)
        context = contextvars.copy_context()
        result = await self._threads.submit(lambda: context.run(self._call, run))
        if run.stopped is Stop.TIMEOUT:
            raise timed_out(run)
        return result

    def stop(self, run: Run, why: Stop) -> None:
        level = logging.WARNING if why is Stop.TIMEOUT else logging.INFO
        log.log(
            level,
            "Task %r is to stop (%s), but it is a sync function, and a thread cannot be stopped: job %s holds its key "
            "and its place in its limits until the function returns. Check ctx.cancelled in it, give its calls a "
            'timeout, or use run_in="process".',
            run.plan.name,
            why.value,
            run.lease.spec.id,
            extra=fields(run),
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
            value = plan.function(self._context.of(run), *args, **kwargs)
        else:
            value = plan.function(*args, **kwargs)
        return write(plan.encode, value)


class Threads:
    """A pool of threads: made when there is work for them, then kept for more. Its user limits their number."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def submit(self, call: Callable[[], bytes]) -> asyncio.Future[bytes]:
        """Call `call` in a thread; the future gets its result or its error. Only in the event loop's thread."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._busy += 1
        if self._busy > len(self._threads):
            self._make_one()
        self._work.put((future, call))
        return future

    def close(self) -> None:
        """Have every thread end after the work that it has."""
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
                return  # the loop is closed, and nothing awaits the future any more
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
    """Wrap a StopIteration, which a future does not accept."""
    if not issubclass(type(error), StopIteration):  # `isinstance` would run code of the error
        return error
    wrapped = RuntimeError("the function raised StopIteration")
    wrapped.__cause__ = error
    return wrapped
