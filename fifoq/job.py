"""A job as users see it: decoded, with times as aware datetimes. It shows one instant and never changes."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from fifoq import codec
from fifoq.errors import BackendCorrupt
from fifoq.record import Damaged, JobSpec, Record, State

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class JobError(NamedTuple):
    """The error of the last attempt that went wrong, as text."""

    type: str
    message: str
    traceback: str


class Progress(NamedTuple):
    """The progress that a running job has reported."""

    done: int
    total: int | None
    note: str


class Job:
    """
    One call of a task, as the store held it when it was read.

    A job whose stored record is damaged is shown as failed, with the error `BackendCorrupt`, its id, and nothing else:
    no worker runs it.

    Arguments and result are as they were sent, before they are rebuilt with the task's types; a handle's `result()`
    is rebuilt. Times are aware UTC datetimes.
    """

    __slots__ = ("_call", "_record", "queue")

    def __init__(self, queue: str, record: Record | Damaged) -> None:
        self.queue = queue
        self._record = record if isinstance(record, Record) else _shown(record)
        self._call: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    @property
    def id(self) -> str:
        return self._record.spec.id

    @property
    def task(self) -> str:
        return self._record.spec.task

    @property
    def key(self) -> str | None:
        return self._record.spec.key

    @property
    def state(self) -> State:
        return self._record.state

    @property
    def args(self) -> tuple[Any, ...]:
        return self._decoded()[0]

    @property
    def kwargs(self) -> dict[str, Any]:
        return self._decoded()[1]

    @property
    def priority(self) -> int:
        return self._record.spec.priority

    @property
    def attempt(self) -> int:
        """Claims so far, without those that were released."""
        return self._record.attempt

    @property
    def crashes(self) -> int:
        """How often a worker died, or lost its lease, while it ran this job."""
        return self._record.crashes

    @property
    def created_at(self) -> datetime:
        return datetime_of(self._record.created_at)

    @property
    def due_at(self) -> datetime | None:
        """When its delay or back-off ends; None if it has none."""
        return _when(self._record.due_at)

    @property
    def started_at(self) -> datetime | None:
        """When its newest attempt began."""
        return _when(self._record.started_at)

    @property
    def finished_at(self) -> datetime | None:
        return _when(self._record.finished_at)

    @property
    def result(self) -> Any:
        """The return value of a succeeded job; None otherwise."""
        return None if self._record.result is None else codec.unpack(self._record.result)

    @property
    def error(self) -> JobError | None:
        return None if self._record.error is None else JobError(*codec.decode_error(self._record.error))

    @property
    def progress(self) -> Progress | None:
        return None if self._record.progress is None else Progress(*codec.decode_progress(self._record.progress))

    @property
    def reason(self) -> str | None:
        """Why it was cancelled, or why its cancel was requested."""
        return self._record.reason

    @property
    def cancel_requested(self) -> bool:
        """It is running, and its cancel was requested."""
        return self._record.cancel_requested

    @property
    def halted(self) -> bool:
        """It failed and keeps its key closed until it is requeued or skipped."""
        return self._record.halted

    @property
    def worker(self) -> str | None:
        """The worker that made its newest attempt."""
        return self._record.worker

    @property
    def meta(self) -> dict[str, str]:
        return codec.decode_meta(self._record.spec.meta)

    @property
    def owner(self) -> str | None:
        return self._record.spec.owner

    @property
    def entry(self) -> int:
        """Its number in the order of puts into its queue, for good."""
        return self._record.entry

    @property
    def stored_bytes(self) -> int:
        """The number of bytes that its arguments, result, error, progress and meta take in the store."""
        record = self._record
        parts = (record.spec.payload, record.spec.meta, record.result, record.error, record.progress)
        return sum(len(part) for part in parts if part is not None)

    def _decoded(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return (args, kwargs), decoded once: a payload may be large, and most readers want both."""
        if self._call is None:
            self._call = codec.decode_call(self._record.spec.payload)
        return self._call

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and (self.queue, self._record) == (other.queue, other._record)

    def __hash__(self) -> int:
        return hash((self.queue, self.id))

    def __repr__(self) -> str:
        key = f" key={self.key!r}" if self.key is not None else ""
        return f"<Job {self.id} {self.task!r} in {self.queue!r}{key} {self.state} attempt={self.attempt}>"


def _shown(damaged: Damaged) -> Record:
    """Return the record that shows a damaged one."""
    spec = JobSpec(damaged.id, "", codec.EMPTY_CALL)
    error = codec.encode_error(BackendCorrupt.__name__, str(damaged))
    return Record(
        spec, damaged.entry, None, State.FAILED, 0, 0, 0, None, None, None, None,
        None, error, None, None, cancel_requested=False, halted=False,
    )  # fmt: skip


def datetime_of(microseconds: int) -> datetime:
    """Return a backend's time as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _when(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else datetime_of(microseconds)
