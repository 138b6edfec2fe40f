"""
Extends the leases of running jobs, from a thread of its own with its own loop and its own twin of the backend.

A task that blocks the worker's loop cannot keep its lease from being extended. It knows runs, and not what they do.
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
from fifoq.record import Extension, Hold
from fifoq.worker.outage import Contact, Outage
from fifoq.worker.run import Run, Stop

log = logging.getLogger("fifoq.worker")

PROGRESS_PAUSE = 0.1
"""Seconds between two writes of progress, at least."""
MAX_BATCH = 1_000
"""Leases in one extension."""

Tell = Callable[[Run, Stop], None]


def margin(lease: float) -> float:
    """Seconds before the end of a lease at which its job is stopped if the backend cannot be reached."""
    return lease / 10


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _no_answer(seconds: float) -> BackendUnavailable:
    return BackendUnavailable(f"An extension of leases had no answer for {seconds:g} s.")


async def _within(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()


class Heartbeat:
    """
    Keeps every lease in `held`, by token, until it is taken out there.

    `held` belongs to the worker's loop; this thread only looks at it. `tell` is called in this thread.
    """

    def __init__(self, backend: Backend, held: Mapping[str, Run], lease: float, contact: Contact, tell: Tell) -> None:
        self._backend = backend
        self._held = held
        self._lease = lease
        self._tell = tell
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._nudged, self._halted = asyncio.Event(), asyncio.Event()
        self._nudging = False
        self._stopping = False
        self._ended: asyncio.Future[None] | None = None
        self._outage = Outage(contact, "leases wait to be extended")
        self.beat = time.monotonic()
        """When this thread was last seen alive."""

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, or another if the last one died."""
        self._stopping = False
        self._ended = ended = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(target=self._main, args=(ended,), name="fifoq-keeper", daemon=True)
        self._thread.start()

    async def stop(self, patience: float) -> None:
        """Let the thread end; wait for that for at most `patience` seconds."""
        self._stopping = True
        self._nudge()
        ended = self._ended
        if ended is not None:
            await asyncio.wait([ended], timeout=patience)
            if self._thread is not None and ended.done():
                self._thread.join(patience)  # it has nothing left to do but to end

    def report(self, run: Run, progress: bytes) -> None:
        """Take a job's progress, from any thread. It is written within PROGRESS_PAUSE, or so."""
        run.progress = progress
        if not self._nudging:
            self._nudging = True
            self._nudge()

    def _nudge(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has just been closed
                loop.call_soon_threadsafe(self._signal)

    def _signal(self) -> None:
        self._nudged.set()
        if self._stopping:
            self._halted.set()

    def _main(self, ended: asyncio.Future[None]) -> None:
        while not self._stopping:
            try:
                asyncio.run(self._serve())
            except (Exception, asyncio.CancelledError):
                log.exception("The thread that extends leases failed, and starts again.")
                time.sleep(self._lease / 20)
        with contextlib.suppress(RuntimeError):  # the worker's loop is closed
            ended.get_loop().call_soon_threadsafe(_set, ended)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._nudged, self._halted = asyncio.Event(), asyncio.Event()
        if self._nudging or self._stopping:
            self._signal()  # it came before this loop was known
        watching = asyncio.create_task(self._watch())
        twin = self._backend.twin()
        try:
            if await self._opened(twin):
                await self._keep(twin)
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

    async def _keep(self, twin: Backend) -> None:
        period = self._lease / 3
        due = time.monotonic() + period
        while not self._stopping:
            await self._sleep(due - time.monotonic())
            news, self._nudging = self._nudging, False
            if time.monotonic() >= due:
                held = await self._extend_all(twin, list(self._held.values()))
                due = time.monotonic() + (period if held else min(period, self._outage.until - time.monotonic()))
            elif news:
                await self._extend_all(
                    twin, [run for run in list(self._held.values()) if run.progress is not run.written]
                )
                await _within(self._halted, PROGRESS_PAUSE)

    async def _sleep(self, seconds: float) -> None:
        """Sleep until it is time or there is something to do."""
        await _within(self._nudged, seconds)
        self._nudged.clear()

    async def _extend_all(self, twin: Backend, runs: Sequence[Run]) -> bool:
        """Extend the leases of these; return whether the backend answered for all of them."""
        queues: dict[str, list[Run]] = {}
        for run in runs:
            queues.setdefault(run.queue, []).append(run)
        held = True
        for name, ours in queues.items():
            for first in range(0, len(ours), MAX_BATCH):
                held = await self._extend(twin, name, ours[first : first + MAX_BATCH]) and held
        if held:
            self._outage.over()
        return held

    async def _extend(self, twin: Backend, queue: str, runs: Sequence[Run]) -> bool:
        sent_at = time.monotonic()
        lease = microseconds(self._lease)
        extensions: list[Extension] = []
        for run in runs:
            progress = run.progress
            news, run.written = (None if progress is run.written else progress), progress
            extensions.append(Extension(run.lease.spec.id, run.lease.token, lease, news))
        try:
            # A call that hangs must not outlast the leases: the next one may find a better connection.
            async with asyncio.timeout(self._lease / 3):
                holds = await twin.queue(queue).extend(extensions)
        except Exception as raised:
            error = _no_answer(self._lease / 3) if isinstance(raised, TimeoutError) else raised
            for run, extension in zip(runs, extensions, strict=True):
                if extension.progress is not None:
                    run.written = None
            self._outage.failed(error)
            return False
        for run, hold in zip(runs, holds, strict=True):
            self._found(run, hold, sent_at)
        return True

    def _found(self, run: Run, hold: Hold, sent_at: float) -> None:
        if hold is Hold.LOST:
            self._tell(run, Stop.LOST)
            return
        run.deadline = sent_at + self._lease
        if hold is Hold.CANCEL:
            self._tell(run, Stop.CANCEL)

    async def _watch(self) -> None:
        """Stop each job whose lease could not be extended, while the lease is good for certain."""
        ahead = margin(self._lease)
        while True:
            now = self.beat = time.monotonic()
            for run in list(self._held.values()):
                if run.deadline - ahead <= now and run.stopped is None and not run.ended:
                    self._tell(run, Stop.UNREACHABLE)
            await asyncio.sleep(self._lease / 20)
