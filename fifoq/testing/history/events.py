"""
What is written down of a real run: one event each time that somebody outside of the store sees something happen.

Stamps are monotonic nanoseconds of one machine, comparable between its processes. An event is stamped so that the truth
lies on the safe side: an attempt's events inside its lease, a call's events around its effect.
"""

import time
from enum import StrEnum
from typing import NamedTuple

from fifoq.record import State

stamp = time.monotonic_ns
"""The time of an event: nanoseconds of the machine's monotonic clock."""


class Answer(StrEnum):
    """What a producer was told."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    """`created=False`: the job was there before."""
    REFUSED = "refused"
    """Nothing was enqueued: the queue was full, the arguments wrong."""
    UNKNOWN = "unknown"
    """It may have been enqueued or not."""


class How(StrEnum):
    """How an attempt ended, as the task itself saw it."""

    RETURNED = "returned"
    RAISED = "raised"
    STOPPED = "stopped"
    """It was cancelled: a timeout, a shutdown, somebody's wish."""


class Asked(NamedTuple):
    """A producer is about to enqueue a job. Its calls are numbered in program order, the jobs of a batch one by one."""

    at: int
    queue: str
    job: str
    key: str | None
    producer: str
    number: int
    delayed: bool = False
    """It enters the line when it falls due, so the order of calls does not give its place."""


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
    """So long the lease is good, at least: the store cannot have counted from before it was asked."""


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
    """The job's place in the line, where it can be seen."""
    claimed_at: int | None = None
    """When it was claimed, in microseconds of the store's clock. Rates are checked by it."""


class Effect(NamedTuple):
    """The task changed the outer world, once in each attempt that got so far."""

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
    """The job's state since; None: refused, the lease was lost."""


class Doubted(NamedTuple):
    """
    A fault was planted: from `at` to `until` this worker was killed, frozen or cut off.

    Its attempts under way are in doubt: they count as over at `at`, and what they did may be done again.
    """

    at: int
    worker: str
    until: int | None = None
    """None: for good. Else somewhat after its return, so that what it had claimed before has shown itself."""


class Requeued(NamedTuple):
    """An operator put a job back: what follows is a life of its own."""

    at: int
    queue: str
    job: str


class Final(NamedTuple):
    """What the store holds of a job when all is over."""

    queue: str
    job: str
    state: State
    halted: bool = False
    entry: int | None = None
    """Its number, or position, in the order of puts, where it can be seen."""


Event = Asked | Answered | Leased | Started | Effect | Ended | Settled | Doubted | Requeued | Final

EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Asked, Answered, Leased, Started, Effect, Ended, Settled, Doubted, Requeued, Final)
}
