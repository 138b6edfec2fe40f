"""The handle of one job: reads its status, waits for its result, cancels it."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, cast

from typing_extensions import TypeVar

from fifoq import codec
from fifoq.errors import BackendCorrupt, JobCancelled, JobFailed, JobNotFound, ResultTimeout
from fifoq.job import Job
from fifoq.queue import Queue, Receipt
from fifoq.record import Damaged, JobSpec, Record, State
from fifoq.task.signature import Signature
from fifoq.task.waiting import end_of

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True, default=Any)

# ---- the way to the queue ----


class Producer(Protocol):
    """Puts batches into one queue, in the order of the calls."""

    def expect(self, id: str) -> None:
        """Announce that a job with this id is about to be put, and to be waited for."""
        ...

    async def put(self, batch: Sequence[JobSpec], wait: float = 0.0) -> tuple[Receipt, ...]:
        """
        Put the batch, waiting up to `wait` seconds for room.

        Raises QueueFull, IdConflict, or the backend's error, if it lasts for longer than the patience.
        """
        ...


class Connection(Protocol):
    """A task's connection to its queue. Raises ConfigurationError if the Fifoq is not open on this loop."""

    def producer(self, queue: str) -> Producer:
        """Return the producer that puts jobs into that queue."""
        ...

    def queue(self, name: str) -> Queue:
        """Return the queue itself, to look at jobs and to operate."""
        ...

    def run(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run `work()` on the loop of the Fifoq and return its result. Raises on that loop's own thread."""
        ...


# ---- handles ----


class Origin:
    """The data that the handles of one task's jobs share."""

    __slots__ = ("connection", "queue", "signature", "task")

    def __init__(self, connection: Connection, queue: str, task: str, signature: Signature) -> None:
        self.connection = connection
        self.queue = queue
        self.task = task
        self.signature = signature


class JobHandle(Generic[R_co]):
    """One job, by its id. It holds no state of the job: each method reads the backend."""

    __slots__ = ("_origin", "created", "id")

    def __init__(self, origin: Origin, id: str, created: bool) -> None:
        self._origin = origin
        self.id = id
        """The job's id."""
        self.created = created
        """Whether this call made the job; False if it was there before, by its id or its unique text."""

    async def status(self) -> Job:
        """Return the job as it is now. Raises JobNotFound if there is none, or it is no longer kept."""
        return Job(self._origin.queue, await self._record())

    async def result(self, timeout: float | None = None) -> R_co:
        """
        Wait for the job to end, up to `timeout` seconds (None: for good), and return the value that the task returned.

        Raises JobFailed, JobCancelled, ResultTimeout, JobNotFound if it is no longer kept, or BackendCorrupt if its
        stored record is damaged. The job goes on after a timeout, or when the waiter is cancelled. Raises
        ConfigurationError in a job for which this one waits.
        """
        record = await end_of(self._origin.connection, self._origin.queue, self.id, timeout)
        if record is None:
            raise ResultTimeout(self.id, self._origin.task, timeout or 0.0)
        return self._outcome(record)

    async def cancel(self) -> bool:
        """
        Cancel the job: at once if it has not begun; else a cancel is requested, and it may still end in another way.

        Returns whether that changed anything: False if it had ended, or was requested before. Raises JobNotFound.
        """
        (changed,) = await self._queue().cancel([self.id], "cancelled by its handle")
        if changed.state is None:
            raise JobNotFound(self.id, self._origin.queue)
        return changed.changed

    def status_sync(self) -> Job:
        """As `status`, from a thread other than the loop's."""
        return self._origin.connection.run(self.status)

    def result_sync(self, timeout: float | None = None) -> R_co:
        """As `result`, from a thread other than the loop's."""
        return self._origin.connection.run(lambda: self.result(timeout))

    def cancel_sync(self) -> bool:
        """As `cancel`, from a thread other than the loop's."""
        return self._origin.connection.run(self.cancel)

    def _queue(self) -> Queue:
        return self._origin.connection.queue(self._origin.queue)

    async def _record(self) -> Record | Damaged:
        (record,) = await self._queue().get([self.id])
        if record is None:
            raise JobNotFound(self.id, self._origin.queue)
        return record

    def _outcome(self, record: Record | Damaged) -> R_co:
        if isinstance(record, Damaged):
            raise BackendCorrupt(str(record))
        task = record.spec.task
        match record.state:
            case State.SUCCEEDED:
                return cast("R_co", self._origin.signature.decode_result(record.result or codec.pack(None)))
            case State.CANCELLED:
                raise JobCancelled(self.id, task, reason=record.reason or "no reason given")
            case _:
                raise _failure(self.id, task, record.error)

    def __repr__(self) -> str:
        return f"<JobHandle {self.id} of {self._origin.task!r} in {self._origin.queue!r}>"


def _failure(id: str, task: str, error: bytes | None) -> JobFailed | BackendCorrupt:
    try:
        type, message, traceback = codec.decode_error(error) if error else ("Unknown", "no error was stored", "")
    except ValueError as malformed:
        return BackendCorrupt(f"Job {id} of task {task!r} failed, but its stored error cannot be read: {malformed}.")
    failed = JobFailed(id, task, type=type, error=message, traceback=traceback or None)
    if traceback:
        failed.add_note(f"Where job {id} failed, in its worker:\n{traceback}")
    return failed
