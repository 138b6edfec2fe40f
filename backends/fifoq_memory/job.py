"""One job as the memory backend holds it: what its put said, and all that has happened to it since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fifoq.record import JobSpec, Record
from fifoq.state import State

if TYPE_CHECKING:
    from fifoq_memory.gates import TaskGate, ValueGate
    from fifoq_memory.line import Line

_WAITING = State.WAITING
SEQ_BITS = 48
SEQ_MASK = (1 << SEQ_BITS) - 1


def score_of(priority: int, seq: int) -> int:
    """The order in which claimable jobs go, the smallest first. No two jobs of a queue share one: seq is unique."""
    return (9 - priority << SEQ_BITS) + seq


class Job:
    """
    Mutable, and only ever touched under its queue's lock. Times are microseconds.

    `line`, `ahead` and `behind` are its place in the line of its key; `value` is the gate of its value while it is
    offered or running; the rest is what a `Record` shows, and what must be known to make the next one.
    """

    __slots__ = (
        "ahead",
        "attempt",
        "behind",
        "cancel_requested",
        "crashes",
        "created_at",
        "due_at",
        "entry",
        "error",
        "expires_at",
        "finished_at",
        "halted",
        "held_since",
        "kept_until",
        "lease_end",
        "line",
        "progress",
        "reason",
        "result",
        "retain",
        "score",
        "spec",
        "started_at",
        "state",
        "task",
        "token",
        "value",
        "worker",
    )

    def __init__(self, spec: JobSpec, entry: int, task: TaskGate, now: int) -> None:
        self.spec = spec
        self.entry = entry
        self.task = task
        self.created_at = now
        self.held_since = now
        """When `due_at` was set."""
        self.state = _WAITING
        self.score = 0
        """0 while it is scheduled: it has no seq yet."""
        self.value: ValueGate | None = None
        self.line: Line | None = None
        self.ahead: Job | None = None
        self.behind: Job | None = None
        self.attempt = 0
        self.crashes = 0
        self.due_at: int | None = None
        self.expires_at: int | None = None
        self.lease_end: int | None = None
        self.started_at: int | None = None
        self.finished_at: int | None = None
        self.worker: str | None = None
        self.token: str | None = None
        self.result: bytes | None = None
        self.error: bytes | None = None
        self.progress: bytes | None = None
        self.reason: str | None = None
        self.cancel_requested = False
        self.halted = False
        self.retain = 0
        self.kept_until: int | None = None

    @property
    def seq(self) -> int | None:
        """Its place in the line; None while it is scheduled."""
        return self.score & SEQ_MASK or None

    @property
    def live(self) -> bool:
        """Whether it stands in the line of its key, if it has one."""
        return self.state is State.WAITING or self.state is State.RUNNING or self.halted

    @property
    def timer(self) -> int | None:
        """When time changes it next."""
        if self.state is State.RUNNING:
            return self.lease_end
        if self.due_at is None or self.expires_at is None:
            return self.expires_at if self.due_at is None else self.due_at
        return min(self.due_at, self.expires_at)

    def record(self) -> Record:
        """The job as the seam shows it."""
        return Record(
            self.spec,
            self.entry,
            self.seq,
            self.state,
            self.attempt,
            self.crashes,
            self.created_at,
            self.due_at,
            self.started_at,
            self.finished_at,
            self.worker,
            self.result,
            self.error,
            self.progress,
            self.reason,
            self.cancel_requested,
            self.halted,
        )
