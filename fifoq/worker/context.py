"""The Context of a job that a worker runs. It knows the run, and nothing of how progress is written."""

from collections.abc import Callable, Coroutine
from typing import Any, cast

from fifoq import codec
from fifoq.context import NOTED, Context
from fifoq.job import Job
from fifoq.lease import Lease
from fifoq.record import Record
from fifoq.state import State

MAX_NOTE = 1_000
"""A longer note of a progress is cut."""


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
            self._job = Job(self._queue, _record(self._lease, self._worker))
        return self._job

    @property
    def attempt(self) -> int:
        return self._lease.attempt

    @property
    def meta(self) -> dict[str, str]:
        meta = self._lease.spec.meta
        return cast("dict[str, str]", codec.unpack(meta)) if meta else {}

    @property
    def fence(self) -> int:
        return self._lease.fence

    @property
    def cancelled(self) -> bool:
        return self._cancelled()

    @property
    def resources(self) -> Any:
        return self._resources

    def progress(self, done: int, total: int | None = None, note: str = "") -> Coroutine[Any, Any, None]:
        """Note how far the job is, at once, from any thread. What it returns may be awaited, and need not be."""
        self._report(codec.pack([done, total, note[:MAX_NOTE]]))
        return NOTED


def _record(lease: Lease, worker: str) -> Record:
    """The job as the store holds it after this claim."""
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
