"""The Context of a running task. The worker makes one for a claimed job; a plain call of a task gets a detached one."""

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from fifoq import codec
from fifoq.job import Job
from fifoq.record import JobSpec, Lease, Record, State


class Context(ABC):
    """
    The job that a task is running for. A task that annotates its first parameter with it receives it:

        @tasks.task
        async def train(ctx: Context, model: str) -> None:
            for epoch in range(10):
                await ctx.progress(epoch, 10, f"epoch {epoch}")
    """

    __slots__ = ()

    @property
    @abstractmethod
    def job(self) -> Job:
        """The job as it was claimed."""

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1; those that were released do not count."""
        return self.job.attempt

    @property
    def meta(self) -> dict[str, str]:
        """The texts that `options(meta=…)` sent along."""
        return self.job.meta

    @property
    @abstractmethod
    def fence(self) -> int:
        """A number that grows with every claim of the queue: a store of yours can refuse writes of an older one."""

    @property
    @abstractmethod
    def cancelled(self) -> bool:
        """Whether the job is to stop: its cancel was requested, its lease is lost, or the worker shuts down."""

    @property
    @abstractmethod
    def resources(self) -> Any:
        """The value of the worker's `lifespan`; None without one."""

    @abstractmethod
    def progress(self, done: int, total: int | None = None, note: str = "") -> Awaitable[None]:
        """
        Report the progress of the job. `Job.progress` shows it after the next heartbeat; only the newest counts.

        It takes effect at once: a function that is not async calls it without `await`. A long note is cut at 4 KiB.
        """


class Reported(Coroutine[Any, Any, None]):
    """
    The result of `progress`: an awaitable that is already done, so that it need not be awaited.

    A coroutine for `asyncio.create_task`, but `progress` is not typed as one: type checkers want a coroutine awaited.
    """

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()

    def send(self, value: Any) -> Any:
        raise StopIteration

    def throw(self, *error: Any) -> Any:
        raise error[0]

    def close(self) -> None:
        pass


REPORTED = Reported()


class DetachedContext(Context):
    """The Context of a plain call: a first attempt of a job in no queue. Its progress is dropped."""

    __slots__ = ("_job",)

    def __init__(self, queue: str, spec: JobSpec) -> None:
        now = time.time_ns() // 1_000
        lease = Lease(spec, "", fence=0, entry=0, seq=0, attempt=1, crashes=0, created_at=now, started_at=now)
        self._job = Job(queue, _claimed(lease, None))

    @property
    def job(self) -> Job:
        return self._job

    @property
    def fence(self) -> int:
        return 0

    @property
    def cancelled(self) -> bool:
        return False

    @property
    def resources(self) -> Any:
        return None

    def progress(self, done: int, total: int | None = None, note: str = "") -> Reported:
        return REPORTED


class LeaseContext(Context):
    """The Context of a claimed job, wherever its function runs."""

    __slots__ = ("_cancelled", "_job", "_lease", "_queue", "_report", "_resources", "_worker")

    def __init__(
        self,
        lease: Lease,
        queue: str,
        worker: str,
        resources: Any,
        report: Callable[[bytes], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._lease = lease
        self._queue = queue
        self._worker = worker
        self._resources = resources
        self._report = report
        self._cancelled = cancelled
        self._job: Job | None = None

    @property
    def job(self) -> Job:
        if self._job is None:
            self._job = Job(self._queue, _claimed(self._lease, self._worker))
        return self._job

    @property
    def attempt(self) -> int:
        return self._lease.attempt

    @property
    def meta(self) -> dict[str, str]:
        return codec.decode_meta(self._lease.spec.meta)

    @property
    def fence(self) -> int:
        return self._lease.fence

    @property
    def cancelled(self) -> bool:
        return self._cancelled()

    @property
    def resources(self) -> Any:
        return self._resources

    def progress(self, done: int, total: int | None = None, note: str = "") -> Reported:
        """Report the progress, at once, from any thread. The result need not be awaited."""
        self._report(codec.encode_progress(done, total, note))
        return REPORTED


def _claimed(lease: Lease, worker: str | None) -> Record:
    """Return the record of a job as it is in the store after this claim."""
    return Record(
        spec=lease.spec,
        entry=lease.entry,
        seq=lease.seq,
        state=State.RUNNING,
        attempt=lease.attempt,
        crashes=lease.crashes,
        created_at=lease.created_at,
        due_at=None,
        started_at=lease.started_at,
        finished_at=None,
        worker=worker,
        result=None,
        error=None,
        progress=None,
        reason=None,
        cancel_requested=False,
        halted=False,
    )
