"""The state of the model: a plain list of jobs and a few numbers, none of them derived from another; and its timers."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from fifoq.limits import GateSettings
from fifoq.queue import MAX_TIMERS
from fifoq.record import JobSpec, Record, State

COUNTED = frozenset({State.SCHEDULED, State.WAITING, State.RUNNING})
"""The states that count against a capacity."""


@dataclass
class Job:
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
    """How long it is kept after its end."""
    kept_until: int | None = None
    """When it may be purged; None while it has not ended, or is halted."""

    @property
    def live(self) -> bool:
        """Whether it is in the line of its key, if it has one."""
        return self.state in (State.WAITING, State.RUNNING) or self.halted

    @property
    def place(self) -> int:
        """Its seq, of a job that is known to have one."""
        assert self.seq is not None
        return self.seq

    @property
    def timer(self) -> int | None:
        """The time at which the job next changes by itself."""
        if self.state is State.RUNNING:
            return self.lease_end
        times = [time for time in (self.due_at, self.expires_at) if time is not None]
        return min(times, default=None)

    def record(self) -> Record:
        """Return the job as the backend protocol shows it."""
        return Record(**{name: getattr(self, name) for name in Record._fields})


@dataclass
class QueueState:
    """One queue."""

    jobs: list[Job] = field(default_factory=list[Job])
    number: int = 0
    """The last number used as an entry or a seq."""
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
        """Return the settings in force at a gate."""
        return self.overrides.get(task) or self.declared.get(task) or GateSettings()

    def job(self, id: str) -> Job | None:
        return next((job for job in self.jobs if job.spec.id == id), None)

    def holder(self, unique: str | None) -> Job | None:
        """Return the scheduled or live job that has this unique text."""
        if unique is None:
            return None
        holders = (job for job in self.jobs if job.live or job.state is State.SCHEDULED)
        return next((job for job in holders if job.spec.unique == unique), None)

    def head(self, key: str) -> Job | None:
        """Return the first job of the key's line."""
        line = [job for job in self.jobs if job.live and job.spec.key == key]
        return min(line, key=lambda job: job.place, default=None)

    def counted(self, task: str | None) -> list[Job]:
        """Return the jobs of a gate that count against its capacity."""
        return [job for job in self.jobs if job.state in COUNTED and task in (None, job.spec.task)]

    def running(self, task: str | None) -> list[Job]:
        """Return the jobs that hold a slot of a gate."""
        return [job for job in self.counted(task) if job.state is State.RUNNING]

    def keys_in_use(self) -> Iterator[str]:
        """Yield every key that has a live job or a pause, once."""
        yield from {job.spec.key for job in self.jobs if job.live and job.spec.key} | self.paused_keys.keys()

    def end(self, job: Job, state: State, now: int, retain: int) -> None:
        """End a job. One with no retention is removed at once; a halted one keeps its key."""
        job.state, job.finished_at, job.token = state, now, None
        job.due_at = job.expires_at = None
        job.cancel_requested = False
        job.retain = max(job.spec.retain, retain)
        if not job.halted:
            self.retire(job, now)

    def retire(self, job: Job, now: int) -> None:
        """Start the retention of an ended job."""
        job.kept_until = now + job.retain
        if job.retain == 0:
            self.remove(job)

    def remove(self, job: Job) -> None:
        self.jobs.remove(job)
        self.purged += 1


# ---- timers ----


def fire(state: QueueState, now: int, at_most: int = MAX_TIMERS) -> None:
    """Fire the timers that are due, by (time, entry), at most `at_most`."""
    due = [(job.timer, job.entry, job) for job in state.jobs if job.timer is not None and job.timer <= now]
    for _, _, job in sorted(due, key=lambda one: one[:2])[:at_most]:
        _fire(state, now, job)


def _fire(state: QueueState, now: int, job: Job) -> None:
    if job.state is State.RUNNING:
        _end_lease(state, now, job)
    elif job.expires_at is not None and job.expires_at <= now:
        job.reason = "expired"
        state.end(job, State.CANCELLED, now, 0)
    else:
        job.due_at = None
        if job.state is State.SCHEDULED:
            job.state, job.seq = State.WAITING, state.next_number()


def _end_lease(state: QueueState, now: int, job: Job) -> None:
    job.crashes += 1
    job.token = None
    if job.cancel_requested:
        state.end(job, State.CANCELLED, now, 0)
    else:
        job.state = State.WAITING
