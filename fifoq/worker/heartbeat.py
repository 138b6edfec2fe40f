"""
Extends the leases of running jobs, from a thread of its own with its own loop and its own twin of the backend.

So a task that blocks the worker's loop does not lose its lease.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from fifoq.clock import microseconds
from fifoq.errors import BackendUnavailable
from fifoq.queue import Backend
from fifoq.record import Extension, Hold, Lease
from fifoq.worker.outage import Contact, Outage
from fifoq.worker.run import Run, Stop
from fifoq.worker.settings import WorkerSettings

log = logging.getLogger("fifoq.worker")

PROGRESS_PAUSE = 0.1
"""Seconds between two writes of progress, at least."""
MAX_BATCH = 1_000
"""Leases in one extension."""


class Heartbeat:
    """
    Extends every lease in `held`, by token, until it is taken out there.

    `held` belongs to the worker's loop; this thread only reads it. `stop_run` is called in this thread, with the lease
    that the reason is about: the run may have got another one meanwhile.
    """

    def __init__(
        self,
        backend: Backend,
        held: Mapping[str, Run],
        settings: WorkerSettings,
        contact: Contact,
        stop_run: Callable[[Run, Stop, Lease], None],
    ) -> None:
        self._backend = backend
        self._held = held
        self._settings = settings
        self._stop_run = stop_run
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken, self._stopped = asyncio.Event(), asyncio.Event()
        self._has_progress = False
        """A run may have progress that is not written. The thread has been woken for it, or will be."""
        self._stopping = False
        self._ended: asyncio.Future[None] | None = None
        self._outage = Outage(contact, "leases wait to be extended")
        self.last_seen = time.monotonic()
        """When this thread was last seen alive."""

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, or another if the last one died."""
        self._stopping = False
        self._ended = ended = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(target=self._main, args=(ended,), name="fifoq-heartbeat", daemon=True)
        self._thread.start()

    async def stop(self, timeout: float) -> None:
        """Let the thread end; wait for that for at most `timeout` seconds."""
        self._stopping = True
        self._wake()
        ended = self._ended
        if ended is not None:
            await asyncio.wait([ended], timeout=timeout)
            if self._thread is not None and ended.done():
                self._thread.join(timeout)  # it has nothing left to do but to end

    def report(self, run: Run, progress: bytes) -> None:
        """Take a job's progress, from any thread. It is written within PROGRESS_PAUSE, or so."""
        run.progress = progress
        if not self._has_progress:
            self._has_progress = True
            self._wake()

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has just been closed
                loop.call_soon_threadsafe(self._set_events)

    def _set_events(self) -> None:
        self._woken.set()
        if self._stopping:
            self._stopped.set()

    # ---- in the thread ----

    def _main(self, ended: asyncio.Future[None]) -> None:
        while not self._stopping:
            try:
                asyncio.run(self._serve())
            except (Exception, asyncio.CancelledError):
                log.exception("The thread that extends leases failed, and starts again.")
                time.sleep(self._settings.watch_every)
        with contextlib.suppress(RuntimeError):  # the worker's loop is closed
            ended.get_loop().call_soon_threadsafe(_set, ended)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken, self._stopped = asyncio.Event(), asyncio.Event()
        if self._has_progress or self._stopping:
            self._set_events()  # it was called before this loop was there
        watching = asyncio.create_task(self._watch_deadlines())
        twin = self._backend.twin()
        try:
            if await self._opened(twin):
                await self._extend_leases(twin)
        finally:
            self._loop = None
            watching.cancel()
            await twin.close()

    async def _opened(self, twin: Backend) -> bool:
        while not self._stopping:
            try:
                await twin.open()
            except Exception as error:
                await self._sleep(self._outage.failed(error))
            else:
                self._outage.over()
                return True
        return False

    async def _extend_leases(self, twin: Backend) -> None:
        period = self._settings.extend_every
        due = time.monotonic() + period
        while not self._stopping:
            await self._sleep(due - time.monotonic())
            has_progress, self._has_progress = self._has_progress, False
            if time.monotonic() >= due:
                answered = await self._extend_all(twin, list(self._held.values()))
                due = time.monotonic() + (period if answered else min(period, self._outage.until - time.monotonic()))
            elif has_progress:
                await self._extend_all(
                    twin, [run for run in list(self._held.values()) if run.progress is not run.written]
                )
                await _wait(self._stopped, PROGRESS_PAUSE)

    async def _sleep(self, seconds: float) -> None:
        """Sleep until the time is over or there is something to do."""
        await _wait(self._woken, seconds)
        self._woken.clear()

    async def _extend_all(self, twin: Backend, runs: Sequence[Run]) -> bool:
        """
        Extend the leases of these; return whether the backend answered for all of them.

        All calls are made at once, so that a queue whose server hangs takes no time from the leases of another.
        """
        by_queue: dict[str, list[Run]] = {}
        for run in runs:
            by_queue.setdefault(run.queue, []).append(run)
        calls = [
            self._extend(twin, queue, ours[first : first + MAX_BATCH])
            for queue, ours in by_queue.items()
            for first in range(0, len(ours), MAX_BATCH)
        ]
        answered = all(await asyncio.gather(*calls))
        if answered:
            self._outage.over()
        return answered

    async def _extend(self, twin: Backend, queue: str, runs: Sequence[Run]) -> bool:
        sent_at = time.monotonic()
        lease = microseconds(self._settings.lease)
        extensions: list[Extension] = []
        leases = [run.lease for run in runs]
        for run, (spec, token, *_) in zip(runs, leases, strict=True):
            progress = run.progress
            unwritten, run.written = (None if progress is run.written else progress), progress
            extensions.append(Extension(spec.id, token, lease, unwritten))
        timeout = self._settings.extend_every
        try:
            # A call that hangs must not outlast the leases: the next one may find a better connection.
            async with asyncio.timeout(timeout):
                holds = await twin.queue(queue).extend(extensions)
        except Exception as raised:
            error = _no_answer(timeout) if isinstance(raised, TimeoutError) else raised
            for run, extension in zip(runs, extensions, strict=True):
                if extension.progress is not None:
                    run.written = None
            self._outage.failed(error)
            return False
        for run, held, hold in zip(runs, leases, holds, strict=True):
            self._extended(run, held, hold, sent_at)
        return True

    def _extended(self, run: Run, lease: Lease, hold: Hold, sent_at: float) -> None:
        if run.lease is not lease:
            return
        if hold is Hold.LOST:
            self._stop_run(run, Stop.LOST, lease)
            return
        run.deadline = sent_at + self._settings.lease
        if hold is Hold.CANCEL:
            self._stop_run(run, Stop.CANCEL, lease)

    async def _watch_deadlines(self) -> None:
        """Stop each job whose lease could not be extended, while the lease certainly still holds."""
        margin = self._settings.stop_margin
        while True:
            now = self.last_seen = time.monotonic()
            for run in list(self._held.values()):
                lease = run.lease
                if run.deadline - margin <= now and run.stopped is None and not run.ended:
                    self._stop_run(run, Stop.UNREACHABLE, lease)
            await asyncio.sleep(self._settings.watch_every)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _no_answer(seconds: float) -> BackendUnavailable:
    return BackendUnavailable(f"An extension of leases had no answer for {seconds:g} s.")


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event for at most so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
