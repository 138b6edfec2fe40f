"""What the writer knows of a queue: its numbers and its gates, read once and written back with each transaction."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from fifoq.clock import run_on
from fifoq.limits import GateSettings
from fifoq.record import State

STATES = tuple(State)
"""A state is stored as its place in this order."""
CODE = {state: code for code, state in enumerate(STATES)}
COUNTED = (State.SCHEDULED, State.WAITING, State.RUNNING)
"""The states that count against a capacity."""
_STORED = tuple(state for state in State if state is not State.RUNNING)
"""The states whose counts are stored: what runs is counted by the gate."""

ENTRY_BITS = 40
"""Of a job's number: enough for a million entries a second for twelve days, in each of eight million queues."""
LAST_ENTRY = (1 << ENTRY_BITS) - 1
LEVEL = 2**48
"""The distance of two priorities in a score."""
UNBOUNDED = 2**62
"""The width of a gate without a limit."""

NO_SETTINGS = GateSettings()


class Gate:
    """A queue's or a task's gate. `head`, of a task: the smallest score that it would offer, its own gate set aside."""

    __slots__ = (
        "declared", "head", "id", "live", "override", "paused", "running", "settings", "stale", "task", "tat", "valued",
    )  # fmt: skip

    def __init__(self, id: int, task: str, numbers: Sequence[int | None] = (0, 0, 0, 0, None, 0)) -> None:
        paused, tat, live, running, head, valued = numbers
        self.id = id
        self.task = task
        self.paused = bool(paused)
        self.tat = tat or 0
        self.live = live or 0
        self.running = running or 0
        self.head = head
        self.valued = bool(valued)
        self.stale = False
        """`head` has to be looked up: what it stood for may be gone."""
        self.declared: GateSettings | None = None
        self.override: GateSettings | None = None
        self.settings = NO_SETTINGS
        """What is in force."""

    def set(self, settings: GateSettings | None, *, override: bool) -> bool:
        """Declare settings, or override what is declared, or lift that; return whether it was otherwise."""
        before = self.override if override else self.declared
        if override:
            self.override = settings
        else:
            self.declared = settings
        self.settings = self.override or self.declared or NO_SETTINGS
        return before != settings

    @property
    def value_limit(self) -> int:
        limit = self.settings.value_limit
        return UNBOUNDED if limit is None else limit

    def room(self, now: int) -> int:
        """How many more it lets through now."""
        if self.paused:
            return 0
        limit, _, _, interval, burst = self.settings
        room = UNBOUNDED if limit is None else limit - self.running
        if interval is not None:
            ahead = max(self.tat, now) - now
            room = min(room, ((burst - 1) * interval - ahead) // interval + 1)
        return max(0, room)

    def token_in(self, now: int) -> int:
        """Microseconds until its rate has a token: 0 if it has one, or no rate."""
        _, _, _, interval, burst = self.settings
        return 0 if interval is None else max(0, max(self.tat, now) - now - (burst - 1) * interval)

    def let_through(self, now: int, count: int) -> None:
        """Take a slot and a token for each of so many."""
        self.running += count
        interval = self.settings.interval
        if interval is not None:
            self.tat = max(self.tat, now) + count * interval

    def row(self) -> tuple[int | None, ...]:
        """What is stored of a task's gate."""
        return self.paused, self.tat, self.live, self.running, self.head, self.valued, self.id


class Unindexed(NamedTuple):
    """A job that was put alone: it is stored, but in no index yet."""

    job: int
    gate: Gate
    key: str | None
    value: str | None
    priority: int
    caller: str
    number: int


class QueueState:
    """One queue: its time, its numbers, its gates, and what a transaction has touched of them."""

    def __init__(self, name: str, id: int, own: Gate, numbers: Sequence[int]) -> None:
        self.name = name
        self.id = id
        self.own = own
        self.version, self._last, self._ahead, self.counter, self.fence, self.purged, *counts = numbers
        self.counts = {**dict(zip(_STORED, counts, strict=True)), State.RUNNING: own.running}
        self.set_back = False
        """The clock was set back since what is stored of it was."""
        self.tasks: dict[str, Gate] = {}
        self.by_id: dict[int, Gate] = {own.id: own}
        self.unindexed: dict[str, Unindexed] = {}
        """Jobs that were put alone since anything else was done to the queue, by id, in order of entry."""
        self.last_indexed = self.number(self.counter)
        """The last job that is filed."""
        self.bounded = False
        """A gate has a capacity, or had one since this was read."""
        self.only_unindexed = True
        """The open transaction has only put jobs alone."""
        self.alarm = 0
        """No timer is due before. Zero: not known."""
        self.now = 0
        """The time of the transaction. Zero: no call has asked for it."""
        self.changed: set[Gate] = set()
        """The tasks' gates that are not stored as they are."""
        self.touched: dict[Gate, Counter[str]] = {}
        """The values whose jobs changed, with the change of how many run, by task."""

    def add(self, gate: Gate) -> Gate:
        """Know this task."""
        self.tasks[gate.task] = self.by_id[gate.id] = gate
        return gate

    def add_unindexed(self, id: str, one: Unindexed, now: int) -> None:
        """Know a job that was put alone."""
        self.unindexed[id] = one
        self.counter = one.job & LAST_ENTRY
        self.version += 1
        self._last = max(self._last, now)
        # What `count` does: a call less for each.
        self.counts[State.WAITING] += 1
        self.own.live += 1
        one.gate.live += 1
        self.changed.add(one.gate)

    def set(self, gate: Gate, settings: GateSettings | None, *, override: bool) -> bool:
        """Declare settings of a gate, or override or lift them; return whether that changes what is stored."""
        changes = gate.set(settings, override=override)
        self.bounded = self.bounded or gate.settings.capacity is not None
        return changes

    # ---- time and numbers

    def tick(self, wall: int) -> None:
        """The host's clock says `wall`: that makes the time of the transaction."""
        now = wall + self._ahead
        if now < self._last:
            now, self._ahead = run_on(wall, self._last, self._ahead)
            self.set_back = True
        self.now = self._last = now

    def peek(self, wall: int) -> int:
        """The same, as a call that only looks reads it."""
        return run_on(wall, self._last, self._ahead)[0]

    def wake_by(self, time: int) -> None:
        """A timer was set."""
        self.alarm = min(self.alarm, time)

    def next_number(self) -> int:
        self.counter += 1
        return self.counter

    def number(self, entry: int) -> int:
        """The job with this entry."""
        return self.id << ENTRY_BITS | entry

    def entry(self, job: int) -> int:
        return job & LAST_ENTRY

    # ---- moves of jobs

    def count(self, gate: Gate, state: State, jobs: int) -> None:
        """So many new jobs of `gate` are in `state`."""
        self.counts[state] += jobs
        self.own.live += jobs
        gate.live += jobs
        self.changed.add(gate)

    def enter(self, gate: Gate, value: str | None, ready: int | None) -> None:
        """A job has come into the line, and is offered if it has a score."""
        self.changed.add(gate)
        if value is not None:
            gate.valued = True
        if ready is not None:
            self.offer(gate, value, ready)

    def start(self, gate: Gate, jobs: int) -> None:
        """So many waiting jobs of `gate` are running, each with a slot and a token of either gate."""
        self.counts[State.WAITING] -= jobs
        self.counts[State.RUNNING] += jobs
        for one in (self.own, gate):
            one.let_through(self.now, jobs)
        self.touch(gate, None)

    def move(self, gate: Gate, before: State, after: State | None) -> None:
        """A job of `gate` changed its state; None: it was removed, having been in `before`."""
        self.counts[before] -= 1
        if after is None:
            self.purged += 1
        else:
            self.counts[after] += 1
        for one in (self.own, gate):
            one.live += (after in COUNTED) - (before in COUNTED)
            one.running -= before is State.RUNNING
        self.changed.add(gate)

    def touch(self, gate: Gate, value: str | None, running: int = 0) -> None:
        """What `gate` offers changed, among its jobs of `value`."""
        gate.stale = True
        self.changed.add(gate)
        if value is not None:
            self.touched.setdefault(gate, Counter())[value] += running

    def offer(self, gate: Gate, value: str | None, score: int) -> None:
        """A job of `gate` is offered that was not."""
        if value is not None:
            self.touch(gate, value)
        elif gate.head is None or score < gate.head:
            gate.head = score
            self.changed.add(gate)

    def stored(self) -> None:
        """It is stored as it is."""
        self.last_indexed, self.set_back = self.number(self.counter), False

    def row(self) -> tuple[int, ...]:
        """What is stored of the queue."""
        own = self.own
        return (
            own.paused, own.tat, own.live, own.running,
            self.version, self._last, self._ahead, self.counter, self.fence, self.purged,
            *(self.counts[state] for state in _STORED), own.id,
        )  # fmt: skip


def score(priority: int, seq: int) -> int:
    """The order in which offered jobs go: the smallest first."""
    return (9 - priority) * LEVEL + seq
