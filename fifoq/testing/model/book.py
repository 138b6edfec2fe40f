"""What the model keeps: a plain list of jobs and a few numbers. Nothing in it is derived from anything else in it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from fifoq.limits import GateSettings
from fifoq.record import JobSpec, Record, State

COUNTED = frozenset({State.SCHEDULED, State.WAITING, State.RUNNING})
"""The states that count against a capacity."""


@dataclass
class Item:
    """One job. Times are microseconds of the store's clock."""

    spec: JobSpec
    entry: int
    seq: int | None
    state: State
    created_at: int
    due_at: int | None = None
    held_since: int = 0
    """When `due_at` was set."""
    expires_at: int | None = None
    attempt: int = 0
    crashes: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    worker: str | None = None
    result: bytes | None = None
    error: bytes | None = None
    progress: bytes | None = None
    reason: str | None = None
    cancel_requested: bool = False
    halted: bool = False
    token: str | None = None
    lease_end: int = 0
    retain: int = 0
    """For how long it is kept after its end."""
    kept_until: int | None = None
    """When it may be purged; None while it has not ended, or is halted."""

    @property
    def live(self) -> bool:
        """Whether it stands in the line of its key."""
        return self.state in (State.WAITING, State.RUNNING) or self.halted

    @property
    def place(self) -> int:
        """Its seq, of a job that is known to have one."""
        assert self.seq is not None
        return self.seq

    @property
    def timer(self) -> int | None:
        """When time changes it next."""
        if self.state is State.RUNNING:
            return self.lease_end
        times = [time for time in (self.due_at, self.expires_at) if time is not None]
        return min(times, default=None)

    def record(self) -> Record:
        """The job as the seam shows it."""
        return Record(**{name: getattr(self, name) for name in Record._fields})


@dataclass
class Book:
    """One queue."""

    items: list[Item] = field(default_factory=list[Item])
    number: int = 0
    """The last that was given out as an entry or a seq."""
    fence: int = 0
    accepted: int = 0
    purged: int = 0
    declared: dict[str | None, GateSettings] = field(default_factory=dict[str | None, GateSettings])
    """By task; None is the queue's own gate."""
    overrides: dict[str | None, GateSettings] = field(default_factory=dict[str | None, GateSettings])
    paused: set[str | None] = field(default_factory=set[str | None])
    paused_keys: dict[str, int] = field(default_factory=dict[str, int])
    """Since when each key is paused."""
    tat: dict[str | None, int] = field(default_factory=dict[str | None, int])
    """The theoretical arrival time of each rate's bucket."""

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def settings(self, task: str | None) -> GateSettings:
        """What is in force at a gate."""
        return self.overrides.get(task) or self.declared.get(task) or GateSettings()

    def item(self, id: str) -> Item | None:
        return next((item for item in self.items if item.spec.id == id), None)

    def holder(self, unique: str | None) -> Item | None:
        """The scheduled or live job that has this unique text."""
        if unique is None:
            return None
        holders = (item for item in self.items if item.live or item.state is State.SCHEDULED)
        return next((item for item in holders if item.spec.unique == unique), None)

    def head(self, key: str) -> Item | None:
        """The first of the key's line."""
        line = [item for item in self.items if item.live and item.spec.key == key]
        return min(line, key=lambda item: item.place, default=None)

    def counted(self, task: str | None) -> list[Item]:
        """The jobs of a gate that count against its capacity."""
        return [item for item in self.items if item.state in COUNTED and task in (None, item.spec.task)]

    def running(self, task: str | None) -> list[Item]:
        """The jobs that hold a slot of a gate."""
        return [item for item in self.counted(task) if item.state is State.RUNNING]

    def lines(self) -> Iterator[str]:
        """Every key that has a live job or a pause, once."""
        yield from {item.spec.key for item in self.items if item.live and item.spec.key} | self.paused_keys.keys()

    def end(self, item: Item, state: State, now: int, retain: int) -> None:
        """The job is over; one that is kept for no time leaves at once."""
        item.state, item.finished_at, item.token = state, now, None
        item.due_at = item.expires_at = None
        item.cancel_requested = False
        item.retain = max(item.spec.retain, retain)
        if not item.halted:
            self.keep(item, now)

    def keep(self, item: Item, now: int) -> None:
        """Count what the job is kept for from now."""
        item.kept_until = now + item.retain
        if item.retain == 0:
            self.remove(item)

    def remove(self, item: Item) -> None:
        self.items.remove(item)
        self.purged += 1
