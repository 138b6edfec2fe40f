"""
A session of one connection, used in its thread: transactions, statements, and the cached states and replies of queues.

The cache lives from one transaction to the next. Once the write lock is held, `PRAGMA data_version` shows whether
another connection has committed since; only then is the cache dropped and read again.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

from fifoq.clock import Clock, SteppedClock
from fifoq.limits import GateSettings
from fifoq.record import LARGEST
from fifoq_sqlite.queue_state import LAST_ENTRY, Gate, QueueState, Unindexed
from fifoq_sqlite.schema import are_numbers, damaged, read_migration
from fifoq_sqlite.statements import load

MAX_REPLIES = 1_000
"""Replies that are cached at most; beyond, they are read again."""

_UNINDEXED = frozenset(
    product((int,), (str,), (int,), (str, type(None)), (str, type(None)), (int,), (int,), (str,), (int,))
)
"""The types of the columns of `unindexed_read`."""
_BEGIN = {mode: f"BEGIN {mode}" for mode in ("IMMEDIATE", "DEFERRED")}


class LastReply(NamedTuple):
    """The last reply of one verb of a queue to one caller."""

    number: int
    reply: Any


ReplyKey = tuple[str, str, str]
"""Queue, verb and caller."""


class ReplyCache:
    """The last replies to callers, as far as this connection has read or made them."""

    def __init__(self) -> None:
        self.known: dict[ReplyKey, LastReply | None] = {}
        """The stored replies, and those of the open transaction. None: the store has no reply."""
        self.new: dict[ReplyKey, LastReply] = {}
        """The replies of the open transaction."""

    def add(self, key: ReplyKey, stored: LastReply | None) -> None:
        """Cache a stored reply, or that there is none."""
        if len(self.known) > MAX_REPLIES:
            self.known = {**self.new}
        self.known[key] = stored

    def clear(self) -> None:
        """Drop all replies: another connection may have stored newer ones, or the transaction was rolled back."""
        self.known.clear()
        self.new.clear()


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


class Session:
    """A connection between `begin` and `commit` or `roll_back`."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self.connection = connection
        self.clock = SteppedClock(clock)
        self.woken: set[str] = set()
        """Queues in which a job may have become claimable."""
        self.ended: list[tuple[str, str]] = []
        """(queue, id) of the jobs that ended or were removed."""
        self.changes = False
        """Whether there is more to commit than times and replies."""
        self.used: list[QueueState] = []
        """The queues whose time was read by a call: those to be written."""
        self.only_unindexed = True
        """Whether the open transaction has only put unindexed jobs, in any queue. Their rows hold their replies too."""
        self.versions: dict[str, int] = {}
        """The version of each queue after the transaction."""
        self.replies = ReplyCache()
        self.unflushed = True
        """Whether another connection has committed since this one last flushed the log: perhaps without a flush."""
        self._data_version = -1
        self._states: dict[str, QueueState] = {}
        # For the statements of every transaction: a cursor of its own for each of them would cost half a microsecond.
        self._execute = connection.cursor().execute

    # ---- transactions ----

    def begin(self, mode: str = "IMMEDIATE") -> None:
        """Take the write lock, or with `DEFERRED` a snapshot; drop the cache if other connections have committed."""
        self._execute(_BEGIN[mode])
        self.changes, self.only_unindexed = False, True
        self.woken, self.ended, self.used, self.versions = set(), [], [], {}
        self.replies.new.clear()
        (version,) = self._execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            self._states.clear()
            self.replies.clear()
            read_migration(self.connection)
            self._data_version = version
            self.unflushed = True
        for state in self._states.values():
            state.now = 0
            state.only_unindexed = True

    def write(self) -> None:
        """Write the states of the used queues."""
        for state in self.used:
            if state.unindexed:
                # Nothing but unindexed jobs were put in this queue, and their rows hold all that has changed.
                assert state.only_unindexed, "a call left jobs unindexed"
                self.versions[state.name] = state.version
                continue
            self.update_heads(state)
            if state.changed:
                self.connection.executemany(load("gate_write"), [gate.row() for gate in state.changed])
                state.changed.clear()
            state.version += self.changes
            self.versions[state.name] = state.version
            self.run("queue_write", state.row())
            state.mark_stored()

    def commit(self) -> None:
        self._execute("COMMIT")

    def roll_back(self) -> None:
        """Undo the transaction, and drop the cache."""
        self._data_version = -1
        self._states.clear()
        self.replies.clear()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    # ---- statements ----

    def run(self, name: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement that reads, or writes only times and replies."""
        return self.connection.execute(load(name), parameters)

    def rows(self, name: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a statement that reads. A text that is damaged, and no UTF-8, comes as bytes."""
        try:
            return self.run(name, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
        self.connection.text_factory = _text_or_bytes
        try:
            return self.run(name, parameters).fetchall()
        finally:
            self.connection.text_factory = str

    def change(self, name: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement that changes jobs or gates."""
        self.changes = True
        return self.connection.execute(load(name), parameters)

    def change_many(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run such a statement once for each row of parameters."""
        self.changes = True
        self.connection.executemany(load(name), rows)

    # ---- states of queues ----

    def tick(self, state: QueueState) -> int:
        """Return the time of a queue, the same for all calls of one transaction, for a call that changes the queue."""
        if not state.now:
            self.used.append(state)
            wall, monotonic = self.clock.read()
            step = state.tick(wall, monotonic, self.clock.origin)
            if step and state.own_gate.running:
                self.change("leases_move", (state.id, step))
        return state.now

    def queue_state(self, name: str) -> QueueState | None:
        """Return the state of a queue, or None if there is no such queue."""
        state = self._states.get(name)
        if state is None:
            found = self.run("queue_find", (name,)).fetchone()
            if found is None:
                return None
            state = self._states[name] = self._read_state(name, found[0])
        return state

    def make_queue(self, name: str) -> QueueState:
        """Return the state of a queue, which is made if there is none."""
        state = self.queue_state(name)
        if state is None:
            made = self.change("queue_make", (name,)).lastrowid
            self.change("gate_make", (made, ""))
            state = self.queue_state(name)
            assert state is not None
            state.only_unindexed = False
        return state

    def make_gate(self, state: QueueState, task: str | None) -> Gate:
        """Return the gate of a task, which is made if there is none, or the queue's own gate (None)."""
        if task is None:
            return state.own_gate
        gate = state.tasks.get(task)
        if gate is None:
            made = self.change("gate_make", (state.id, task)).lastrowid
            assert made is not None
            gate = state.add(Gate(made, task))
        return gate

    def drop_blank(self, state: QueueState, task: str | None) -> None:
        """Remove the gate of a task if nothing is left of it: names that only operators used would stay for ever."""
        gate = None if task is None else state.tasks.get(task)
        if gate is not None and gate.blank:
            self.change("gate_drop", (gate.id,))
            state.remove(gate)

    def update_heads(self, state: QueueState) -> None:
        """Update the heads of the touched values, then those of the tasks."""
        for gate, values in state.touched.items():
            changes = json.dumps(list(values.items()))
            self.run("values_update", (gate.id, gate.value_limit, changes))
            self.run("values_drop", (gate.id, changes))
        state.touched.clear()
        for gate in state.changed:
            if gate.stale:
                heads = self.run("gate_head", (gate.id,)).fetchone()
                # A damaged score counts as the first, so that the next claim finds it.
                found = [head if type(head) is int else 0 for head in heads if head is not None]
                gate.head = min(found, default=None)
                gate.stale = False

    def _read_state(self, name: str, queue: int) -> QueueState:
        """Return the state of a queue. Raises BackendCorrupt if its rows are not as fifoq writes them."""
        gates = self.run("gates_read", (queue,)).fetchall()
        settings = self.run("settings_read", (queue,)).fetchall()
        numbers = [number for _, _, *numbers in gates for number in numbers[:-1]]
        numbers += [number for row in settings for number in row]
        try:
            if not are_numbers(numbers):
                raise ValueError("one of its numbers is none")
            return self._make_state(name, queue, gates, settings)
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(self.connection, f"queue {name!r} cannot be read ({error!r:.200})") from error

    def _make_state(self, name: str, queue: int, gates: list[Any], settings: list[Any]) -> QueueState:
        (id, _, *own), *tasks = gates
        state = QueueState(name, queue, Gate(id, "", own[:7]), own[7:])
        for id, task, *numbers in tasks:
            state.add(Gate(id, task, numbers[:7]))
        for row in self.rows("unindexed_read", (state.last_indexed, state.job(LAST_ENTRY))):
            job, id, gate, key, value, priority, now, caller, number = row
            if tuple(map(type, row)) not in _UNINDEXED or gate not in state.by_id or not 0 <= now <= LARGEST:
                # Its row is mended once it is indexed: a session may not write here.
                state.damaged.append(job)
                id = id if isinstance(id, str) else f"damaged-{job & LAST_ENTRY}"
                key, value, caller = (text if isinstance(text, str) else None for text in (key, value, caller))
                priority, number = (each if isinstance(each, int) else 0 for each in (priority, number))
                now = 0
            task = state.by_id.get(gate) or next(iter(state.tasks.values()), state.own_gate)
            state.add_unindexed(id, Unindexed(job, task, key, value, priority, caller or "", number), now)
        for gate, override, *rest in settings:
            state.set(state.by_id[gate], GateSettings(*rest), override=bool(override))
        return state
