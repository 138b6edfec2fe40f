"""
A job as it crosses the seam: what a put asks for, and what a backend keeps of it.

Times are whole microseconds of the backend's clock. Payload, meta, result, error and progress are opaque bytes: a
backend stores them and never looks inside. Tuples, not dataclasses: some of them are made for every job, and a frozen
dataclass costs three times as much to build.
"""

from typing import NamedTuple

from fifoq.state import State


class JobSpec(NamedTuple):
    """One job of a put: all that is fixed about it for good. Durations are in microseconds."""

    id: str
    task: str
    payload: bytes
    key: str | None = None
    """The ordering key; None promises nothing but oldest first."""
    value: str | None = None
    """The gate below the task's: the text of the argument(s) that the task's limit is `by`, or None."""
    priority: int = 0
    """−9 to 9, higher first. It chooses between keys' heads and unkeyed jobs, never inside a key."""
    delay: int = 0
    """How long after the put it falls due. Zero: at once."""
    in_line: bool = False
    """With a delay: take the place in the line now, and hold it, instead of when due."""
    expires: int | None = None
    """Cancelled, with the reason `expired`, if so long after the put it was never claimed."""
    unique: str | None = None
    """At most one scheduled or live job of the queue has this text."""
    retain: int = 0
    """How long the record is kept after the job ended; a settlement may ask for longer, never for less."""
    owner: str | None = None
    meta: bytes = b""


class Record(NamedTuple):
    """One job as the store holds it, at one instant."""

    spec: JobSpec
    entry: int
    """Its number in the order of puts, for good."""
    seq: int | None
    """Its place in the line: `entry`, unless it entered later. None while it is scheduled."""
    state: State
    attempt: int
    """Claims so far, less those that were released."""
    crashes: int
    """Leases that ended unsettled."""
    created_at: int
    due_at: int | None
    """Until when a delay or a back-off holds it; None once that has fired."""
    started_at: int | None
    """When the newest claim was."""
    finished_at: int | None
    worker: str | None
    """The name of the worker of the newest claim."""
    result: bytes | None
    error: bytes | None
    """Of the last attempt that went wrong; a success clears it."""
    progress: bytes | None
    reason: str | None
    """Why it was cancelled, or is asked to be."""
    cancel_requested: bool
    """It is running and asked to be cancelled."""
    halted: bool
    """It failed and keeps its key closed."""


class Filter(NamedTuple):
    """Which records a page shows: those that match each part that is not None."""

    state: State | None = None
    task: str | None = None
    key: str | None = None
    owner: str | None = None


class Records(NamedTuple):
    """A page of records in order of entry. `cursor` continues behind it; None: there is no more."""

    records: tuple[Record, ...]
    cursor: int | None
