"""The worker: a program runs it, embeds it, or has it drain its queues. It gets queues and tasks, and no app."""

import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import FrameType, TracebackType
from typing import Any, Self, cast

from fifoq.errors import BackendError, ConfigurationError, FifoqError
from fifoq.main_guard import refuse_to_work
from fifoq.worker.log import NO_JOB, Event, log
from fifoq.worker.runtime import Runtime
from fifoq.worker.settings import WorkerSettings, Workplace

SIGNALS = (signal.SIGINT, signal.SIGTERM)
HURRIED_STOP_TIMEOUT = 1.5
"""Seconds that a worker's end takes at most once its grace is ended early."""


class Worker:
    """
    Claims jobs and runs them.

    Embedded, it works from the block's beginning to its end, and then lets its jobs finish within the grace:

        async with worker:
            ...

    In a program of its own, `run` works until a signal, and `drain` until no job is left. A worker may be started again
    after it has ended, and on another loop.
    """

    def __init__(
        self, opening: Callable[[], AbstractAsyncContextManager[Workplace]], settings: WorkerSettings | None = None
    ) -> None:
        self._opening = opening
        self.settings = settings or WorkerSettings()
        self._runtime: Runtime | None = None
        self._stack = AsyncExitStack()
        self._hurry = asyncio.Event()
        self._started_at = 0.0

    @property
    def name(self) -> str:
        """The name under which it claims; `Job.worker` shows it."""
        return self.settings.name

    @property
    def ready(self) -> bool:
        """Whether it claims jobs now: it is open, the backend answers, and leases are extended."""
        return self._runtime is not None and self._runtime.ready

    async def __aenter__(self) -> Self:
        refuse_to_work()
        if self._runtime is not None:
            raise ConfigurationError(f"Worker {self.name} is at work already. Make another one.")
        self._hurry = asyncio.Event()
        async with AsyncExitStack() as stack:
            runtime = Runtime(await stack.enter_async_context(self._opening()), self.settings)
            self._stack = stack.pop_all()
        self._runtime = runtime
        self._started_at = time.monotonic()
        runtime.start()
        self._announce(runtime)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runtime, self._runtime = self._runtime, None
        try:
            if runtime is not None:
                log.info(
                    "Worker %s stops: its jobs have %g s to finish.",
                    self.name,
                    self.settings.grace,
                    extra=self._fields(Event.WORKER_STOPPING),
                )
                await self._end(runtime)
        finally:
            await self._stack.aclose()
            seconds = time.monotonic() - self._started_at
            log.info(
                "Worker %s has stopped, after %.1f s.",
                self.name,
                seconds,
                extra={**self._fields(Event.WORKER_STOPPED), "seconds": seconds},
            )

    async def run(self) -> None:
        """
        Work until SIGINT or SIGTERM; then let jobs finish within the grace, release the rest, and return.

        A second signal releases all at once. Only in the main thread; elsewhere it works until it is cancelled.

        A start that fails with a FifoqError prints it to stderr. The error that is raised is of its class and a
        SystemExit: unless it is caught, the program ends without a traceback, with status 2 after a wrong
        configuration, 3 if the store cannot be used, and 1 after any other.
        """
        refuse_to_work()
        stop = asyncio.Event()
        opening = asyncio.current_task()

        def gently() -> None:
            stop.set()
            if opening is not None and self._runtime is None:
                opening.cancel()

        with signals(gently, self.hurry):
            try:
                async with AsyncExitStack() as stack:
                    try:
                        await stack.enter_async_context(self)
                    except FifoqError as error:
                        raise ending_the_program(error) from error
                    self._warn_if_shut_off()
                    await stop.wait()
            except asyncio.CancelledError:
                # `gently` cancels this task while the worker is opening: that is an orderly end too.
                if not stop.is_set() or opening is None or opening.uncancel() > 0:
                    raise

    async def drain(self) -> None:
        """Work until no job runs, may run, waits for a token or backs off; then return."""
        async with self:
            runtime = self._runtime
            if runtime is not None:
                await runtime.drained()

    def hurry(self) -> None:
        """End the grace: release running jobs, now or as soon as the worker stops."""
        self._hurry.set()

    async def _end(self, runtime: Runtime) -> None:
        ending = asyncio.create_task(runtime.stop(self.settings.grace, self._hurry))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            self._hurry.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([ending], timeout=HURRIED_STOP_TIMEOUT)
            raise

    # ---- the log ----

    def _announce(self, runtime: Runtime) -> None:
        settings, store = self.settings, runtime.workplace.store
        log.info(
            "Worker %s works on %s: %d jobs at a time, %d of them in threads; lease %g s, grace %g s.",
            settings.name,
            store,
            settings.concurrency,
            settings.threads,
            settings.lease,
            settings.grace,
            extra={**self._fields(Event.WORKER_STARTED), "store": store, "queues": [one.name for one in runtime.feeds]},
        )
        if not runtime.feeds:
            log.warning("Worker %s has no tasks: it claims no jobs until one is registered.", settings.name)
        for feed in runtime.feeds:
            for name, plan in sorted(feed.plans.items()):
                log.info("  %s, queue %s: %s", name, feed.name, plan.definition.promise or "oldest first")

    def _warn_if_shut_off(self) -> None:
        runtime = self._runtime
        if runtime is not None and runtime.workplace.shut_off:
            log.warning(
                "Worker %s works on %s, which no other process can reach, and no other part of this one has opened it. "
                "If this program does nothing but work, it never gets a job: set FIFOQ_URL, or the URL of its Fifoq, "
                "to the store where the jobs are enqueued.",
                self.name,
                runtime.workplace.store,
                extra={"worker": self.name, "store": runtime.workplace.store},
            )

    def _fields(self, event: Event) -> dict[str, Any]:
        return {**NO_JOB, "event": event, "worker": self.name}


# ---- a start that fails ----


def ending_the_program(error: FifoqError) -> BaseException:
    """
    Print `error`, and return it as one that is a SystemExit, too.

    Python ends a program with a SystemExit without a traceback. It is caught as `error` would be.
    """
    print(f"fifoq: {error}", file=sys.stderr)
    status = 2 if isinstance(error, ConfigurationError) else 3 if isinstance(error, BackendError) else 1
    kind = type(error)
    try:
        both = cast("Any", type(kind.__name__, (kind, SystemExit), {"__module__": kind.__module__}))
    except TypeError:  # an OSError, which has a layout of its own
        return SystemExit(status)
    failed = both.__new__(both, *error.args)
    failed.__dict__.update(error.__dict__)
    failed.code = status
    return cast("BaseException", failed)


# ---- signals ----


@contextlib.contextmanager
def signals(gently: Callable[[], None], at_once: Callable[[], None]) -> Generator[None]:
    """
    Call `gently` on the loop at the first signal and `at_once` at the second; restore the handlers after.

    The third one ends the process as if it had no handler: a task that blocks the loop keeps both calls from being
    made. The leases then end by themselves.

    Outside the main thread a process gets no signals, so this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    calls = iter([gently, at_once])

    def received(number: int, frame: FrameType | None) -> None:
        # Python runs this between two bytecodes of the main thread, in the middle of anything, so it does no more
        # than wake the loop.
        call = next(calls, None)
        if call is not None:
            loop.call_soon_threadsafe(call)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before = {number: signal.signal(number, received) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: a handler that was not set from Python, and cannot be set from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
