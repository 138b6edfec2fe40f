"""
The values of the backend protocol: jobs as they are put, stored, leased and settled.

Times are whole microseconds of the backend's clock. Payload, meta, result, error and progress are opaque bytes: a
backend stores them and never decodes them. These are tuples, not dataclasses: some of them are made for every job, and
a frozen dataclass costs three times as much to build.
"""

from collections.abc import Callable, Iterable
from enum import Enum, StrEnum
from functools import partial
from itertools import product
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T", bound=tuple[Any, ...])


def fast_constructor(kind: type[T]) -> Callable[[Iterable[Any]], T]:
    """Return a constructor of that named tuple from its values, in order: 0.1 µs instead of 0.2 µs, unchecked."""
    return cast("Callable[[Iterable[Any]], T]", partial(cast(Any, tuple).__new__, kind))


# ---- jobs ----


class State(StrEnum):
    """The state of a job."""

    SCHEDULED = "scheduled"
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the job has ended. A failed one may be requeued."""
        return self in _ENDED


_ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class JobSpec(NamedTuple):
    """One job of a put: the part of it that never changes. Durations are in microseconds."""

    id: str
    task: str
    payload: bytes
    key: str | None = None
    """The ordering key. Without one, the job is only promised to run oldest first."""
    value: str | None = None
    """The gate below the task's: the text of the argument(s) that the task's limit is `by`, or None."""
    priority: int = 0
    """−9 to 9, higher first. It chooses between keys' heads and unkeyed jobs, never inside a key."""
    delay: int = 0
    """How long after the put it falls due. Zero: at once."""
    in_line: bool = False
    """With a delay: enter the line now, and hold that place, instead of when due."""
    expires: int | None = None
    """How long after the put it is cancelled, with the reason `expired`, if it was never claimed."""
    unique: str | None = None
    """At most one scheduled or live job of the queue has this text."""
    retain: int = 0
    """How long the record is kept after the job ended; a settlement may set a longer time, never a shorter one."""
    owner: str | None = None
    meta: bytes = b""


class Record(NamedTuple):
    """One job as the store holds it, at one instant."""

    spec: JobSpec
    entry: int
    """Its number in the order of puts, for good."""
    seq: int | None
    """Its place in the line: `entry`, unless it entered the line later. None while it is scheduled."""
    state: State
    attempt: int
    """Claims so far, less those that were released."""
    crashes: int
    """Leases that ended unsettled."""
    created_at: int
    due_at: int | None
    """Until when a delay or a back-off holds it; None once that has fired."""
    started_at: int | None
    """The time of the newest claim."""
    finished_at: int | None
    worker: str | None
    """The name of the worker that made the newest claim."""
    result: bytes | None
    error: bytes | None
    """The error of the last attempt that went wrong; a success clears it."""
    progress: bytes | None
    reason: str | None
    """Why it was cancelled, or why its cancel was requested."""
    cancel_requested: bool
    """It is running, and its cancel was requested."""
    halted: bool
    """It failed and keeps its key closed."""


# ---- damaged records ----


class Damaged(NamedTuple):
    """In place of a Record: a stored job that cannot be read."""

    id: str
    entry: int
    """0 if it is not known."""
    reason: str
    """The part that cannot be read, and why: the end of a sentence, without the stored value."""

    def __str__(self) -> str:
        return (
            f"The stored record of job {self.id!r} is damaged: {self.reason}. The job is not run. Cancel it to remove "
            "it, and look for the program or the disk that wrote to the store."
        )


LARGEST = 2**53
"""The largest number in a record: far above all times, durations and places, and the same on every store."""

_TEXT, _BYTES, _NUMBER, _FLAG = (str,), (bytes,), (int,), (bool,)
_NOTHING = (type(None),)
_SPEC_TYPES = (
    *(_TEXT, _TEXT, _BYTES, _TEXT + _NOTHING, _TEXT + _NOTHING, _NUMBER, _NUMBER, _FLAG, _NUMBER + _NOTHING),
    *(_TEXT + _NOTHING, _NUMBER, _TEXT + _NOTHING, _BYTES),
)
_SPEC_SHAPES = frozenset(product(*_SPEC_TYPES))
_RECORD_TYPES = (
    *((JobSpec,), _NUMBER, _NUMBER + _NOTHING, (State,), _NUMBER, _NUMBER, _NUMBER),
    *(_NUMBER + _NOTHING, _NUMBER + _NOTHING, _NUMBER + _NOTHING, _TEXT + _NOTHING),
    *(_BYTES + _NOTHING, _BYTES + _NOTHING, _BYTES + _NOTHING, _TEXT + _NOTHING, _FLAG, _FLAG),
)


def is_sound(spec: JobSpec) -> bool:
    """Whether all fields of a stored spec are of their types: 0.5 µs, since it is asked of each job that is claimed."""
    return tuple(map(type, spec)) in _SPEC_SHAPES


def damage_of_spec(spec: JobSpec) -> str | None:
    """Return the reason for which a stored spec is damaged, or None if it is sound."""
    if len(spec) != len(_SPEC_TYPES):
        return f"its call has {len(spec)} fields"
    return _damage(JobSpec._fields, spec, _SPEC_TYPES) or (
        None if -9 <= spec.priority <= 9 else "its priority is out of range"
    )


def checked(record: Record) -> Record | Damaged:
    """Return a record as it was read from the store, or Damaged if a field is of another type or out of its range."""
    reason = _damage(Record._fields, record, _RECORD_TYPES) or damage_of_spec(record.spec)
    return record if reason is None else Damaged(str(record.spec[0]), record.entry, reason)


def _damage(names: Iterable[str], values: Iterable[Any], types: Iterable[tuple[type, ...]]) -> str | None:
    for name, value, kinds in zip(names, values, types, strict=True):
        kind = cast("type[object]", type(value))
        if kind not in kinds:
            return f"its {name} is of type {kind.__name__}"
        if kind is int and not (0 <= value <= LARGEST) and name != "priority":
            return f"its {name} is out of range"
    return None


class Filter(NamedTuple):
    """Chooses the records of a page: those that match each part that is not None."""

    state: State | None = None
    task: str | None = None
    key: str | None = None
    owner: str | None = None


class Records(NamedTuple):
    """A page of records in order of entry. `cursor` continues behind it; None: it is the last page."""

    records: tuple[Record | Damaged, ...]
    cursor: int | None


# ---- leases ----


class Lease(NamedTuple):
    """A claimed job: the right to run it until the lease ends, and its proof."""

    spec: JobSpec
    token: str
    """The proof: unguessable, fresh with each claim."""
    fence: int
    """Strictly increasing per queue in the order of claims, for the user's own stores."""
    entry: int
    seq: int
    attempt: int
    """Claims so far, this one included."""
    crashes: int
    """Leases of this job that ended unsettled."""
    created_at: int
    started_at: int
    """The time of this claim."""
    damage: str | None = None
    """
    Why the job's record cannot be read, as in `Damaged`; None if it can. Of its spec only id and task count then, and
    the lease is there to be settled: the function must not run.
    """


class Claimed(NamedTuple):
    """The reply to a claim."""

    leases: tuple[Lease, ...]
    next_timer: int | None
    """Microseconds until time alone may make another job claimable, at the latest; None if it will not."""
    stands: bool = False
    """The backend may make the caller's next call of itself (`ahead`)."""
    since: float | None = None
    """The earliest possible begin of the leases (`time.monotonic()`), if that may be before the call was sent."""


class Extension(NamedTuple):
    """A heartbeat: extend the lease to `lease` microseconds from now, and store the progress if there is any."""

    id: str
    token: str
    lease: int
    progress: bytes | None = None


class Hold(Enum):
    """The reply to an extension."""

    HELD = "held"
    CANCEL = "cancel requested"
    """Held and extended, but the cancel of the job was requested."""
    LOST = "lost"
    """The lease had ended: nothing was changed."""


# ---- settlements ----


class Succeed(NamedTuple):
    """The job returned. `retain`: how long to keep it."""

    result: bytes
    retain: int


class Fail(NamedTuple):
    """The job is given up. With `halt` its key stays closed until it is requeued or skipped."""

    error: bytes
    halt: bool
    retain: int


class Cancel(NamedTuple):
    """The job was cancelled while it ran."""

    reason: str
    retain: int


class Retry(NamedTuple):
    """Try again, at its place, `after` microseconds from now; its successors wait."""

    after: int
    error: bytes
    retain: int
    """How long to keep it if it ends cancelled instead, because its cancel was requested."""


class Release(NamedTuple):
    """Put it back at its place, without counting the attempt. Claimable `after` microseconds from now."""

    after: int
    retain: int
    """As in Retry."""


Outcome = Succeed | Fail | Cancel | Retry | Release


class Settlement(NamedTuple):
    """The one fenced write that ends a lease."""

    id: str
    token: str
    outcome: Outcome
