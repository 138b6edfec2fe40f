"""The tree of gates: a queue's, its tasks', the values' below a task. Who may pass, how many do, and who is first."""

from __future__ import annotations

from fifoq.limits import GateSettings
from fifoq_memory.job import Job
from fifoq_memory.ready import Ready

_OPEN = GateSettings()


class Gate:
    """
    What a queue's gate and a task's have in common.

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
        """When the rate's bucket will be full again: the theoretical arrival time of GCRA."""
        self.read_settings()

    def read_settings(self) -> None:
        """Put in force what is overridden, or else declared."""
        self.settings = self.override or self.declared or _OPEN
        self.limit, self.interval, self.burst = self.settings.limit, self.settings.interval, self.settings.burst
        self.bounded = self.limit is not None or self.settings.value_limit is not None
        """Whether a lease that ends may let another job through."""

    def room(self, now: int, n: int) -> int:
        """How many of `n` more it lets through now."""
        if self.paused:
            return 0
        if self.limit is not None:
            n = min(n, self.limit - self.running)
        if self.interval is not None:
            n = min(n, self.burst - -(-max(self.tat - now, 0) // self.interval))
        return n if n > 0 else 0

    def take(self, n: int, now: int) -> None:
        """Let `n` through: a slot and a token each."""
        self.running += n
        if self.interval is not None and n:
            self.tat = max(self.tat, now) + n * self.interval

    def opens_at(self, now: int) -> int | None:
        """When its next token comes; None unless that is all that shuts it."""
        if self.interval is None or self.paused or (self.limit is not None and self.running >= self.limit):
            return None
        at = self.tat - (self.burst - 1) * self.interval
        return at if at > now else None


class TaskGate(Gate):
    """
    A task's gate. `ready` holds its offered jobs without a value, and of each open value gate the first.

    It is not shown to the queue's gate: each claim knows other tasks, so a claim puts those together itself.
    """

    __slots__ = ("live", "name", "ready", "values")

    def __init__(self, name: str) -> None:
        self.name = name
        self.live = 0
        """Its jobs that are scheduled, waiting or running."""
        self.ready = Ready()
        self.values: dict[str, ValueGate] = {}
        super().__init__()

    @property
    def known(self) -> bool:
        """Whether an operator should see it."""
        return self.live > 0 or self.paused or self.declared is not None or self.override is not None

    def offer(self, job: Job) -> None:
        """Let the job, or its value's gate, stand in `ready`."""
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
        """Take the job out, if it is offered. It holds no slot."""
        gate = job.value
        if gate is not None:
            job.value = None
            gate.ready.discard(job.score)
            gate.show()
        elif job.spec.value is None:
            self.ready.discard(job.score)


class ValueGate:
    """
    The gate of one value of a task's `by`. It shows its first job to the task's gate while it is open.

    That is all the parking and waking there is. It vanishes when nobody is offered at it and nobody runs.
    """

    __slots__ = ("ready", "running", "shown", "task", "value")

    def __init__(self, task: TaskGate, value: str) -> None:
        self.task = task
        self.value = value
        self.ready = Ready()
        self.running = 0
        self.shown: int | None = None
        """The score at which it stands in the task's `ready`."""

    def admit(self, job: Job) -> None:
        """The task's gate took this job, the one shown: it runs now."""
        self.shown = None
        self.ready.pop()
        self.running += 1
        self.show()

    def release(self, job: Job) -> None:
        """The job runs no longer."""
        job.value = None
        self.running -= 1
        self.show()

    def show(self) -> None:
        """Stand in the task's `ready` at the score of the first job, if open, or not at all."""
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
