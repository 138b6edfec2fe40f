"""What the writer knows of a queue: its numbers and its gates, read once and written back with each transaction."""

from collections import Counter

from fifoq.limits import GateSettings
from fifoq.state import State

STATES = tuple(State)
"""A state is stored as its place in this order."""
CODE = {state: code for code, state in enumerate(STATES)}
COUNTED = (State.SCHEDULED, State.WAITING, State.RUNNING)
"""The states that count against a capacity."""

ENTRY_BITS = 40
"""Of a job's number: enough for a million entries a second for twelve days, in each of eight million queues."""
LEVEL = 2**48
"""The distance of two priorities in a score."""
UNBOUNDED = 2**62
"""The width of a gate without a limit."""

NO_SETTINGS = GateSettings()


class Gate:
    """A queue's or a task's gate. `head`, of a task: the smallest score that it would offer, its own gate set aside."""

    __slots__ = ("declared", "head", "id", "live", "override", "paused", "running", "stale", "task", "tat", "valued")

    def __init__(
        self,
        id: int,
        task: str,
        paused: int = 0,
        tat: int = 0,
        live: int = 0,
        running: int = 0,
        head: int | None = None,
        valued: int = 0,
    ) -> None:
        self.id = id
        self.task = task
        self.paused = bool(paused)
        self.tat = tat
        self.live = live
        self.running = running
        self.head = head
        self.valued = bool(valued)
        self.stale = False
        """`head` has to be looked up: what it stood for may be gone."""
        self.declared: GateSettings | None = None
        self.override: GateSettings | None = None

    @property
    def settings(self) -> GateSettings:
        """What is in force."""
        return self.override or self.declared or NO_SETTINGS

    @property
    def value_limit(self) -> int:
        limit = self.settings.value_limit
        return UNBOUNDED if limit is None else limit

    def room(self, now: int) -> int:
        """How many more it lets through now."""
        if self.paused:
            return 0
        settings = self.settings
        slots = UNBOUNDED if settings.limit is None else settings.limit - self.running
        return max(0, min(slots, self._tokens(now)))

    def _tokens(self, now: int) -> int:
        _, _, _, interval, burst = self.settings
        if interval is None:
            return UNBOUNDED
        ahead = max(self.tat, now) - now
        return ((burst - 1) * interval - ahead) // interval + 1

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

    def row(self) -> tuple[int, int, int, int, int | None, int, int]:
        return self.paused, self.tat, self.live, self.running, self.head, self.valued, self.id


class Book:
    """One queue: its numbers, its gates, and what a transaction has touched of them."""

    def __init__(self, name: str, row: tuple[int, ...]) -> None:
        self.name = name
        self.id, self.counter, self.fence, self.purged, *counts = row
        self.counts = dict(zip(STATES, counts, strict=True))
        self.written = self.row()
        """What is stored of its numbers."""
        self.own = Gate(0, "")
        self.tasks: dict[str, Gate] = {}
        self.by_id: dict[int, Gate] = {}
        self.changed: set[Gate] = set()
        """The gates that are not stored as they are."""
        self.touched: dict[Gate, Counter[str]] = {}
        """The values whose jobs changed, with the change of how many run, by task."""

    def add(self, gate: Gate) -> Gate:
        """Know this gate, as it is stored."""
        if gate.task:
            self.tasks[gate.task] = gate
        else:
            self.own = gate
        self.by_id[gate.id] = gate
        return gate

    def path(self, gate: Gate) -> tuple[Gate, Gate]:
        """The gates of a task's jobs, about to be changed."""
        path = (self.own, gate)
        self.changed.update(path)
        return path

    def offer(self, gate: Gate, value: str | None, score: int) -> None:
        """A job of `gate` is offered that was not."""
        if value is not None:
            self.touch(gate, value)
        elif gate.head is None or score < gate.head:
            gate.head = score
            self.changed.add(gate)

    def next_number(self) -> int:
        self.counter += 1
        return self.counter

    def number(self, entry: int) -> int:
        """The job with this entry."""
        return self.id << ENTRY_BITS | entry

    def move(self, gate: Gate, before: State, after: State | None) -> None:
        """Count a job of `gate` that changed its state; None: it was removed, having been in `before`."""
        self.counts[before] -= 1
        if after is None:
            self.purged += 1
        else:
            self.counts[after] += 1
        for one in self.path(gate):
            one.live += (after in COUNTED) - (before in COUNTED)
            one.running -= before is State.RUNNING

    def touch(self, gate: Gate, value: str | None, running: int = 0) -> None:
        """What `gate` offers changed, among its jobs of `value`."""
        gate.stale = True
        self.changed.add(gate)
        if value is not None:
            self.touched.setdefault(gate, Counter())[value] += running

    def row(self) -> tuple[int, ...]:
        return self.counter, self.fence, self.purged, *self.counts.values(), self.id


def score(priority: int, seq: int) -> int:
    """The order in which offered jobs go: the smallest first."""
    return (9 - priority) * LEVEL + seq
