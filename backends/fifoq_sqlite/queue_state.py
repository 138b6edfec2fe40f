"""The state of a queue, read once and written back by each transaction: its counters, its gates, its time."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from fifoq.clock import gained, run_on
from fifoq.limits import GateSettings
from fifoq.record import State

STATES = tuple(State)
"""A state is stored as its position in this tuple, its code."""
CODE = {state: code for code, state in enumerate(STATES)}
COUNTED = (State.SCHEDULED, State.WAITING, State.RUNNING)
"""The states that count against a capacity."""
_STORED = tuple(state for state in State if state is not State.RUNNING)
"""The states whose counts are stored: running jobs are counted by the gate."""

ENTRY_BITS = 40
"""Bits of a job's number for its entry: a million entries a second for twelve days, in each of eight million queues."""
LAST_ENTRY = (1 << ENTRY_BITS) - 1
LEVEL = 2**48
"""The distance of two priorities in a score."""
UNBOUNDED = 2**62
"""The width of a gate without a limit."""

NO_SETTINGS = GateSettings()


def score_of(priority: int, seq: int) -> int:
    """Return the score of a job: of all offered jobs, the one with the smallest is claimed first."""
    return (9 - priority) * LEVEL + seq


class Gate:
    """The gate of a queue or of a task. A task's `head` is the smallest score that it offers, whether open or shut."""

    __slots__ = (
        "declared", "head", "id", "live", "override", "paused", "running", "settings", "stale", "task", "tat", "used",
        "valued",
    )  # fmt: skip

    def __init__(self, id: int, task: str, numbers: Sequence[int | None] = (0, 0, 0, 0, None, 0, 0)) -> None:
        paused, tat, live, running, head, valued, used = numbers
        self.id = id
        self.task = task
        self.paused = bool(paused)
        self.tat = tat or 0
        """Theoretical arrival time of the rate's token bucket (GCRA)."""
        self.live = live or 0
        self.running = running or 0
        self.head = head
        self.valued = bool(valued)
        """Whether a job of the task has had a value."""
        self.used = bool(used)
        """Whether a job of the task was ever put: rows of jobs may name the gate."""
        self.stale = False
        """Whether `head` has to be read again: its job may be gone."""
        self.declared: GateSettings | None = None
        self.override: GateSettings | None = None
        self.settings = NO_SETTINGS
        """The settings in force."""

    def set(self, settings: GateSettings | None, *, override: bool) -> bool:
        """Set the declared settings, or the override (None lifts it); return whether they changed."""
        before = self.override if override else self.declared
        if override:
            self.override = settings
        else:
            self.declared = settings
        self.settings = self.override or self.declared or NO_SETTINGS
        return before != settings

    @property
    def blank(self) -> bool:
        """Whether the task's gate is as if it had never been."""
        return not (self.used or self.paused) and self.declared is None and self.override is None

    @property
    def value_limit(self) -> int:
        limit = self.settings.value_limit
        return UNBOUNDED if limit is None else limit

    def room(self, now: int) -> int:
        """Return how many more jobs may start now."""
        if self.paused:
            return 0
        limit, _, _, interval, burst = self.settings
        room = UNBOUNDED if limit is None else limit - self.running
        if interval is not None:
            ahead = max(self.tat, now) - now
            room = min(room, ((burst - 1) * interval - ahead) // interval + 1)
        return max(0, room)

    def token_in(self, now: int) -> int:
        """Return the microseconds until the rate has a token: 0 if it has one, or if there is no rate."""
        _, _, _, interval, burst = self.settings
        return 0 if interval is None else max(0, max(self.tat, now) - now - (burst - 1) * interval)

    def take(self, now: int, count: int) -> None:
        """Take a slot and a token for each of `count` jobs."""
        self.running += count
        interval = self.settings.interval
        if interval is not None:
            self.tat = max(self.tat, now) + count * interval

    def row(self) -> tuple[int | None, ...]:
        """Return the parameters of `gate_write`, for a task's gate."""
        return self.paused, self.tat, self.live, self.running, self.head, self.valued, self.used, self.id


class Unindexed(NamedTuple):
    """A job of a small put, whose row is stored but in no index yet."""

    job: int
    gate: Gate
    key: str | None
    value: str | None
    priority: int
    caller: str
    number: int
    """The number of the caller's put."""


class QueueState:
    """One queue: its counters, its gates and its time, and the parts that the open transaction has changed."""

    def __init__(self, name: str, id: int, own_gate: Gate, numbers: Sequence[Any]) -> None:
        self.name = name
        self.id = id
        self.own_gate = own_gate
        self.version, self._last, self._ahead, self.counter, self.fence, self.purged, *counts = numbers[:-2]
        self._lead: int = numbers[-2]
        self._origin: str | None = numbers[-1]
        self.counts = {**dict(zip(_STORED, counts, strict=True)), State.RUNNING: own_gate.running}
        self.clock_was_set = False
        """Whether the host's clock was set, back or ahead, since the state was stored."""
        self.tasks: dict[str, Gate] = {}
        self.by_id: dict[int, Gate] = {own_gate.id: own_gate}
        self.unindexed: dict[str, Unindexed] = {}
        """The jobs of small puts since any other change of the queue, by id, in order of entry."""
        self.damaged: list[int] = []
        """The unindexed jobs whose rows are damaged."""
        self.searched = 0
        """The last job that a search for damaged rows has read; 0 at the end of a round."""
        self.last_indexed = self.job(self.counter)
        """The last indexed job: the unindexed ones have larger numbers."""
        self.capped = False
        """Whether a gate has a capacity, or had one since the state was read."""
        self.only_unindexed = True
        """Whether the open transaction has only put unindexed jobs."""
        self.no_timer_before = 0
        """A time before which no timer is due. Zero: not read yet."""
        self.now = 0
        """The time of the open transaction. Zero: no call has read it."""
        self.changed: set[Gate] = set()
        """The tasks' gates that differ from their rows."""
        self.touched: dict[Gate, Counter[str]] = {}
        """The values whose jobs changed, by task, each with the change of its number of running jobs."""

    def add(self, gate: Gate) -> Gate:
        """Add the gate of a task."""
        self.tasks[gate.task] = self.by_id[gate.id] = gate
        return gate

    def remove(self, gate: Gate) -> None:
        """Remove the blank gate of a task."""
        del self.tasks[gate.task], self.by_id[gate.id]
        self.changed.discard(gate)
        self.touched.pop(gate, None)

    def add_unindexed(self, id: str, one: Unindexed, now: int) -> None:
        """Add a job of a small put."""
        self.unindexed[id] = one
        self.counter = one.job & LAST_ENTRY
        self.version += 1
        self._last = max(self._last, now)
        # The same as `count`, with a call less for each job.
        self.counts[State.WAITING] += 1
        self.own_gate.live += 1
        one.gate.live += 1
        one.gate.used = True
        self.changed.add(one.gate)

    def set(self, gate: Gate, settings: GateSettings | None, *, override: bool) -> bool:
        """Set the declared settings of a gate, or its override (None lifts it); return whether they changed."""
        changed = gate.set(settings, override=override)
        self.capped = self.capped or gate.settings.capacity is not None
        return changed

    # ---- time and numbers ----

    def tick(self, wall: int, monotonic: int, origin: str) -> int:
        """
        Set the time of the open transaction from the host's clocks, as `SteppedClock` reads them.

        Returns by how much the clock was set ahead: leases move along, for their holders have not had that time.
        """
        now = wall + self._ahead
        if now < self._last:
            now, self._ahead = run_on(wall, self._last, self._ahead)
            self.clock_was_set = True
        self.now = self._last = now
        if origin != self._origin:
            self._lead, self._origin, self.clock_was_set = now - monotonic, origin, True
        gain = gained(now, monotonic, self._lead)
        if gain:
            self._lead += gain
            self.clock_was_set = True
        return max(0, gain)

    def peek(self, wall: int) -> int:
        """Return the same time for a call that only reads."""
        return run_on(wall, self._last, self._ahead)[0]

    def add_timer(self, time: int) -> None:
        """Note that a timer was set."""
        self.no_timer_before = min(self.no_timer_before, time)

    def next_number(self) -> int:
        """Return a new entry or seq."""
        self.counter += 1
        return self.counter

    def job(self, entry: int) -> int:
        """Return the number of the job with this entry."""
        return self.id << ENTRY_BITS | entry

    # ---- transitions of jobs ----

    def count(self, gate: Gate, state: State, jobs: int) -> None:
        """Count `jobs` new jobs of `gate`, which are in `state`."""
        self.counts[state] += jobs
        self.own_gate.live += jobs
        gate.live += jobs
        gate.used = True
        self.changed.add(gate)

    def enter(self, gate: Gate, value: str | None, ready: int | None) -> None:
        """Note a new job; offer it if it has a score."""
        self.changed.add(gate)
        if value is not None:
            gate.valued = True
        if ready is not None:
            self.offer(gate, value, ready)

    def start(self, gate: Gate, jobs: int) -> None:
        """Move `jobs` jobs of `gate` from waiting to running; each takes a slot and a token of both gates."""
        self.counts[State.WAITING] -= jobs
        self.counts[State.RUNNING] += jobs
        for one in (self.own_gate, gate):
            one.take(self.now, jobs)
        self.touch(gate, None)

    def move(self, gate: Gate, before: State, after: State | None) -> None:
        """Move a job of `gate` from one state to another; None removes it."""
        self.counts[before] -= 1
        if after is None:
            self.purged += 1
        else:
            self.counts[after] += 1
        for one in (self.own_gate, gate):
            one.live += (after in COUNTED) - (before in COUNTED)
            one.running -= before is State.RUNNING
        self.changed.add(gate)

    def touch(self, gate: Gate, value: str | None, running: int = 0) -> None:
        """Note that the offered jobs of `gate` changed, among those of `value`."""
        gate.stale = True
        self.changed.add(gate)
        if value is not None:
            self.touched.setdefault(gate, Counter())[value] += running

    def offer(self, gate: Gate, value: str | None, score: int) -> None:
        """Note that a job of `gate` is offered now."""
        if value is not None:
            self.touch(gate, value)
        elif gate.head is None or score < gate.head:
            gate.head = score
            self.changed.add(gate)

    # ---- storing ----

    def mark_stored(self) -> None:
        """Note that the state is stored as it is."""
        self.last_indexed, self.clock_was_set = self.job(self.counter), False

    def row(self) -> tuple[Any, ...]:
        """Return the parameters of `queue_write`."""
        own = self.own_gate
        return (
            own.paused, own.tat, own.live, own.running,
            self.version, self._last, self._ahead, self.counter, self.fence, self.purged,
            *(self.counts[state] for state in _STORED), self._lead, self._origin, own.id,
        )  # fmt: skip
