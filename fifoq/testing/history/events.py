"""
The events of a run, each logged where a producer, worker or task observes it, and the logs that store them.

Stamps are monotonic nanoseconds of one machine, comparable between its processes. Each is taken on the safe side: those
of an attempt inside its lease, those of a call around its effect.
"""

import json
import os
import secrets
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from fifoq.record import State

stamp = time.monotonic_ns
"""Return the time of an event: nanoseconds of the machine's monotonic clock."""


class Answer(StrEnum):
    """The answer to an enqueue, as its producer got it."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    """`created=False`: the job existed before."""
    REFUSED = "refused"
    """Nothing was enqueued: the queue was full, the arguments wrong."""
    UNKNOWN = "unknown"
    """It may have been enqueued or not."""


class How(StrEnum):
    """How an attempt ended, as the task itself saw it."""

    RETURNED = "returned"
    RAISED = "raised"
    STOPPED = "stopped"
    """It was cancelled: by a timeout, a shutdown or a request."""


class Asked(NamedTuple):
    """A producer is about to enqueue a job. Its calls are numbered in program order, the jobs of a batch one by one."""

    at: int
    queue: str
    job: str
    key: str | None
    producer: str
    number: int
    delayed: bool = False
    """It enters the line when it falls due, so its place does not follow from the order of calls."""


class Answered(NamedTuple):
    """The producer has its answer. A call without one, because its process died, counts as unknown."""

    at: int
    queue: str
    job: str
    producer: str
    number: int
    answer: Answer


class Leased(NamedTuple):
    """A worker has the reply to a claim or an extension."""

    at: int
    queue: str
    job: str
    fence: int
    asked_at: int
    """When it was sent; if it was repeated, the first time."""
    until: int
    """The earliest end of the lease: the store counts it from no earlier than the call."""


class Started(NamedTuple):
    """An attempt began: the first thing that the task does."""

    at: int
    queue: str
    job: str
    fence: int
    worker: str
    attempt: int
    task: str
    value: str | None = None
    """The value of the task's `by` that it counts against."""
    seq: int | None = None
    """The job's place in the line, where the log has it."""
    claimed_at: int | None = None
    """When it was claimed, in microseconds of the store's clock. Rates are checked with it."""


class Effect(NamedTuple):
    """The task had its effect outside of fifoq, once in each attempt that came so far."""

    at: int
    queue: str
    job: str
    fence: int


class Ended(NamedTuple):
    """An attempt is over: the last thing that the task does."""

    at: int
    queue: str
    job: str
    fence: int
    how: How


class Settled(NamedTuple):
    """A worker has the reply to a settlement."""

    at: int
    queue: str
    job: str
    fence: int
    asked_at: int
    """When it was sent; if it was repeated, the first time."""
    state: State | None
    """The job's state after it; None: refused, the lease was lost."""


class Doubted(NamedTuple):
    """
    A fault was planted: from `at` to `until` this worker was killed, frozen or cut off.

    Its attempts under way are in doubt: they count as over at `at`, and their work may be done again.
    """

    at: int
    worker: str
    until: int | None = None
    """None: for good. Else somewhat after its return, so that the jobs that it had claimed before have begun."""


class Requeued(NamedTuple):
    """An operator requeued a job: its later attempts are a new life."""

    at: int
    queue: str
    job: str


class Final(NamedTuple):
    """The record of a job in the store at the end of the run."""

    queue: str
    job: str
    state: State
    halted: bool = False
    entry: int | None = None
    """Its number, or position, in the order of puts, where the log has it."""


Event = Asked | Answered | Leased | Started | Effect | Ended | Settled | Doubted | Requeued | Final

EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Asked, Answered, Leased, Started, Effect, Ended, Settled, Doubted, Requeued, Final)
}


# ---- logs ----

_SUFFIX = ".history"
_ENUMS = {"answer": Answer, "how": How, "state": State}


class Log(Protocol):
    """A log of events."""

    def write(self, event: Event) -> None:
        """Store `event` durably before this returns. May be called from any thread."""
        ...


class MemoryLog:
    """A log in a list, for a run within one process."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def write(self, event: Event) -> None:
        self.events.append(event)


class FileLog:
    """
    A log in a file of its own, under `directory`: one JSON line per event.

    Each event is one write to a file opened for appending. The kernel has it when `write` returns, so killing the
    process loses at most the event that it was about to write.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def write(self, event: Event) -> None:
        os.write(self._file, encode(event))

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_logs(directory: Path) -> Iterator[Event]:
    """
    Yield the events of all the file logs under `directory`, file by file.

    A last line that was cut short is left out. Raises ValueError for any other line that is not an event.
    """
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        *lines, _torn = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            try:
                yield decode(line)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"line {number} of {path} is no event: {line[:200]!r}") from error


def encode(event: Event) -> bytes:
    """Return the line of one event, with its end."""
    return json.dumps([type(event).__name__, *event]).encode() + b"\n"


def decode(line: bytes) -> Event:
    """Return the event of a line. Raises ValueError, KeyError or TypeError for any other line."""
    name, *values = json.loads(line)
    kind: Any = EVENTS[name]
    event: Any = kind(*values)
    for field, enum in _ENUMS.items():
        if getattr(event, field, None) is not None:
            event = event._replace(**{field: enum(getattr(event, field))})
    return event
