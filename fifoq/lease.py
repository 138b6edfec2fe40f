"""
The right to run a job, and the ways to give it back.

Durations are whole microseconds. A worker sends durations and never timestamps: the backend's clock is the only one.
"""

from enum import Enum
from typing import NamedTuple

from fifoq.record import JobSpec


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
    """Claims so far, this one counted."""
    crashes: int
    """Leases of this job that ended unsettled."""
    created_at: int
    started_at: int
    """When this claim was."""


class Claimed(NamedTuple):
    """The reply to a claim."""

    leases: tuple[Lease, ...]
    next_timer: int | None
    """Microseconds until time alone may make another job claimable, never too late; None if it will not."""
    stands: bool = False
    """The backend may make the caller's next call of itself (`ahead`)."""
    since: float | None = None
    """When the leases began, at the earliest (`time.monotonic()`), if that may be before the call was sent."""


class Extension(NamedTuple):
    """A heartbeat: hold the lease for `lease` microseconds from now, and store the progress if there is any."""

    id: str
    token: str
    lease: int
    progress: bytes | None = None


class Hold(Enum):
    """What an extension found."""

    HELD = "held"
    CANCEL = "cancel requested"
    """Held and extended, but somebody asked for the job to be cancelled."""
    LOST = "lost"
    """The lease had ended: nothing was changed."""


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
    """How long to keep it if it ends cancelled instead, because somebody had asked for that."""


class Release(NamedTuple):
    """Hand it back to its place unharmed: the attempt does not count. Claimable `after` microseconds from now."""

    after: int
    retain: int
    """As in Retry."""


Outcome = Succeed | Fail | Cancel | Retry | Release


class Settlement(NamedTuple):
    """The one fenced write that ends a lease."""

    id: str
    token: str
    outcome: Outcome
