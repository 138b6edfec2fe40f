"""Jobs, the line of each key, and the gates of queue, tasks and values: objects that refer to each other."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from fifoq.limits import GateSettings
from fifoq.record import JobSpec, Record, State

SEQ_BITS = 48
SEQ_MASK = (1 << SEQ_BITS) - 1
END = 1 << 62
"""Above every score."""
SLACK = 64
"""Garbage up to this size is never compacted."""
_WAITING = State.WAITING
_OPEN = GateSettings()


# ---- jobs and lines ----


def score_of(priority: int, seq: int) -> int:
    """Return the score of a job: the smallest is claimed first. Unique in a queue, since seq is."""
    return (9 - priority << SEQ_BITS) + seq


class Job:
    """
    A job: its spec, and all that has changed since its put. Used only under its queue's lock. Times are microseconds.

    `line`, `ahead` and `behind` are its place in the line of its key; `value` is the gate of its value while it is
    offered or running; the other fields make a `Record`, or decide the next one.
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
        """Whether it is in the line of its key, if it has one."""
        return self.state is State.WAITING or self.state is State.RUNNING or self.halted

    @property
    def timer(self) -> int | None:
        """The time at which the job next changes by itself."""
        if self.state is State.RUNNING:
            return self.lease_end
        if self.due_at is None or self.expires_at is None:
            return self.expires_at if self.due_at is None else self.due_at
        return min(self.due_at, self.expires_at)

    def record(self) -> Record:
        """Return the job as the backend protocol shows it."""
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


class Line:
    """
    The line of a key: a FIFO of its live jobs, whose head holds the key. Jobs join at the end only: a new seq is the
    largest.

    A job that backs off or has halted keeps its place. An empty line that is not paused is removed.
    """

    __slots__ = ("blocked_since", "head", "key", "paused_since", "tail")

    def __init__(self, key: str) -> None:
        self.key = key
        self.head: Job | None = None
        self.tail: Job | None = None
        self.paused_since: int | None = None
        self.blocked_since: int | None = None
        """Its time in the index of blocked keys; None: it is not in the index."""

    def join(self, job: Job) -> None:
        """Add a job at the end."""
        tail = self.tail
        job.line = self
        job.ahead = tail
        if tail is None:
            self.head = job
        else:
            tail.behind = job
        self.tail = job

    def leave(self, job: Job) -> None:
        """Remove a job from any place."""
        ahead, behind = job.ahead, job.behind
        if ahead is None:
            self.head = behind
        else:
            ahead.behind = behind
        if behind is None:
            self.tail = ahead
        else:
            behind.ahead = ahead
        job.line = job.ahead = job.behind = None

    def blocked(self) -> tuple[str, int] | None:
        """Return why its head may not be claimed, and since when; None if only a lease or a gate prevents it."""
        head = self.head
        if head is not None and head.halted and head.finished_at is not None:
            return "halted", head.finished_at
        if self.paused_since is not None:
            return "paused", self.paused_since
        if head is not None and head.due_at is not None:
            return "backing off", head.held_since
        return None

    def __iter__(self) -> Iterator[Job]:
        job = self.head
        while job is not None:
            yield job
            job = job.behind


# ---- gates ----


class ReadySet:
    """
    The offered jobs of a gate, a priority queue: a map of score to job that returns its smallest.

    `members` is the truth. Other scores are garbage, dropped when they surface or outnumber the members. Scores mostly
    come in ascending order: those are kept as a sorted `run`, read from `start`, at O(1) each, however many wait; the
    others go into the heap `rest`. (A heap alone was 1 µs slower per claim with a million jobs than with a thousand.)
    """

    __slots__ = ("members", "rest", "run", "start")

    def __init__(self) -> None:
        self.members: dict[int, Job] = {}
        self.run: list[int] = []
        self.start = 0
        self.rest: list[int] = []

    def add(self, score: int, job: Job) -> None:
        self.members[score] = job
        run = self.run
        if not run or score > run[-1]:
            run.append(score)
        else:
            heappush(self.rest, score)

    def discard(self, score: int) -> None:
        """Remove a score, if it is a member."""
        if self.members.pop(score, None) is not None and self.size() > 2 * len(self.members) + SLACK:
            self._compact()

    def first(self) -> int | None:
        """Return the smallest score."""
        members, run, rest = self.members, self.run, self.rest
        if not members:
            return None
        while run and run[self.start] not in members:
            self._step()
        while rest and rest[0] not in members:
            heappop(rest)
        if run and (not rest or run[self.start] < rest[0]):
            return run[self.start]
        return rest[0]

    def pop(self, bound: int = END) -> Job | None:
        """Take out the job with the smallest score, if that is below `bound`."""
        members, run, rest = self.members, self.run, self.rest
        while members:
            if run and (not rest or run[self.start] < rest[0]):
                score = run[self.start]
                if score >= bound:
                    return None
                self._step()
            else:
                score = rest[0]
                if score >= bound:
                    return None
                heappop(rest)
            job = members.pop(score, None)
            if job is not None:
                return job
        return None

    def size(self) -> int:
        """Return the number of scores, garbage included."""
        return len(self.run) - self.start + len(self.rest)

    def _step(self) -> None:
        """Drop the first of the run. The list is cut when half of it is behind `start`: O(1) each in the long run."""
        self.start += 1
        if 2 * self.start >= len(self.run):
            del self.run[: self.start]
            self.start = 0

    def _compact(self) -> None:
        members = self.members
        self.run = [score for score in self.run[self.start :] if score in members]
        self.start = 0
        self.rest = list({score for score in self.rest if score in members}.difference(self.run))
        heapify(self.rest)


class Gate:
    """
    A gate with a limit and a rate: the queue's, and the base of a task's.

    A slot is held by a lease and by nothing else: `running` changes only in the steps that make or end one.
    """

    __slots__ = (
        "bounded",
        "burst",
        "declared",
        "interval",
        "limit",
        "override",
        "paused",
        "running",
        "settings",
        "tat",
    )

    def __init__(self) -> None:
        self.declared: GateSettings | None = None
        self.override: GateSettings | None = None
        self.paused = False
        self.running = 0
        self.tat = 0
        """When the rate's bucket is full again: the theoretical arrival time of GCRA."""
        self.read_settings()

    def read_settings(self) -> None:
        """Put the override in force, or else the declared settings."""
        self.settings = self.override or self.declared or _OPEN
        self.limit, self.interval, self.burst = self.settings.limit, self.settings.interval, self.settings.burst
        self.bounded = self.limit is not None or self.settings.value_limit is not None
        """Whether a lease that ends may let another job through."""

    def room(self, now: int, n: int) -> int:
        """Return how many of `n` more jobs it lets through now."""
        if self.paused:
            return 0
        if self.limit is not None:
            n = min(n, self.limit - self.running)
        if self.interval is not None:
            n = min(n, self.burst - -(-max(self.tat - now, 0) // self.interval))
        return n if n > 0 else 0

    def take(self, n: int, now: int) -> None:
        """Take a slot and a token for each of `n` jobs."""
        self.running += n
        if self.interval is not None and n:
            self.tat = max(self.tat, now) + n * self.interval

    def opens_at(self, now: int) -> int | None:
        """Return when its next token comes; None unless it is closed for want of a token alone."""
        if self.interval is None or self.paused or (self.limit is not None and self.running >= self.limit):
            return None
        at = self.tat - (self.burst - 1) * self.interval
        return at if at > now else None


class TaskGate(Gate):
    """
    A task's gate. `ready` holds its offered jobs without a value, and the first job of each open value gate.

    It is not shown to the queue's gate: each claim is for other tasks, so a claim merges their gates itself.
    """

    __slots__ = ("live", "name", "ready", "used", "values")

    def __init__(self, name: str) -> None:
        self.name = name
        self.live = 0
        """The number of its scheduled, waiting and running jobs."""
        self.used = False
        """Whether a job was ever put: jobs may refer to it."""
        self.ready = ReadySet()
        self.values: dict[str, ValueGate] = {}
        super().__init__()

    @property
    def known(self) -> bool:
        """Whether `stats` shows it."""
        return self.live > 0 or self.paused or self.declared is not None or self.override is not None

    @property
    def blank(self) -> bool:
        """Whether it is as if it had never been."""
        return not (self.used or self.known)

    def offer(self, job: Job) -> None:
        """Add the job, or the first of its value's gate, to `ready`."""
        name = job.spec.value
        if name is None:
            self.ready.add(job.score, job)
            return
        gate = self.values.get(name)
        if gate is None:
            gate = self.values[name] = ValueGate(self, name)
        job.value = gate
        gate.ready.add(job.score, job)
        gate.show()

    def withdraw(self, job: Job) -> None:
        """Remove the job, if it is offered. It holds no slot."""
        gate = job.value
        if gate is not None:
            job.value = None
            gate.ready.discard(job.score)
            gate.show()
        elif job.spec.value is None:
            self.ready.discard(job.score)


class ValueGate:
    """
    The gate of one value of a task's `by`. While it is open its first job is in the task's `ready`.

    So a full value costs a claim nothing. The gate is removed when it has no offered and no running job.
    """

    __slots__ = ("ready", "running", "shown", "task", "value")

    def __init__(self, task: TaskGate, value: str) -> None:
        self.task = task
        self.value = value
        self.ready = ReadySet()
        self.running = 0
        self.shown: int | None = None
        """The score of its first job in the task's `ready`."""

    def admit(self, job: Job) -> None:
        """Take a slot for its first job, which the task's gate has just taken."""
        self.shown = None
        self.ready.pop()
        self.running += 1
        self.show()

    def release(self, job: Job) -> None:
        """Free the slot of a job that runs no longer."""
        job.value = None
        self.running -= 1
        self.show()

    def show(self) -> None:
        """Put its first job into the task's `ready` if it is open, or take it out."""
        limit = self.task.settings.value_limit
        first = self.ready.first() if limit is None or self.running < limit else None
        if first != self.shown:
            if self.shown is not None:
                self.task.ready.discard(self.shown)
            if first is not None:
                self.task.ready.add(first, self.ready.members[first])
            self.shown = first
        if first is None and not self.running and not self.ready.members:
            del self.task.values[self.value]
