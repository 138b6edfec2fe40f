"""
One connection, as the code within its thread sees it: transactions and states.

A state is kept from one transaction to the next. `PRAGMA data_version` tells, once the write lock is held, whether any
other connection has committed since; only then is it read again.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fifoq.clock import Clock
from fifoq.limits import GateSettings
from fifoq_sqlite.queue_state import LAST_ENTRY, Gate, QueueState, Unindexed
from fifoq_sqlite.schema import check_migration
from fifoq_sqlite.statements import load

_MOST = 1_000
"""So many callers are remembered; beyond, they are read again."""


class LastReply(NamedTuple):
    """A caller's last call of one verb."""

    number: int
    reply: Any


Who = tuple[str, str, str]
"""Queue, verb and caller."""


class ReplyCache:
    """The last replies. `new` are those of the open transaction."""

    def __init__(self) -> None:
        self.known: dict[Who, LastReply | None] = {}
        """The new ones, and those that are stored; None: there is none."""
        self.new: dict[Who, LastReply] = {}

    def know(self, who: Who, stored: LastReply | None) -> None:
        """This is stored."""
        if len(self.known) > _MOST:
            self.known = {**self.new}
        self.known[who] = stored

    def forget(self) -> None:
        """Others may have told them more, or the transaction was undone."""
        self.known.clear()
        self.new.clear()


_BEGIN = {mode: f"BEGIN {mode}" for mode in ("IMMEDIATE", "DEFERRED")}


class Session:
    """A connection between `begin` and `commit` or `roll_back`."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self.connection = connection
        self.clock = clock
        self.woken: set[str] = set()
        """Queues in which something may have become claimable."""
        self.ended: list[tuple[str, str]] = []
        """(queue, id) of the jobs that ended or were removed."""
        self.changes = False
        """Whether there is more to commit than times and replies."""
        self.used: list[QueueState] = []
        """The states whose time a call has asked for: those that are to be written."""
        self.only_unindexed = True
        """The open transaction has only put jobs alone, in any queue: they tell of their puts themselves."""
        self.versions: dict[str, int] = {}
        """To which versions what is written brings their queues."""
        self.told = ReplyCache()
        self._version = -1
        self._states: dict[str, QueueState] = {}
        # For what every transaction does: a cursor of its own for each statement would cost half a microsecond.
        self._execute = connection.cursor().execute

    # ---- transactions

    def begin(self, mode: str = "IMMEDIATE") -> None:
        """Take the write lock, or with `DEFERRED` look at one instant; read again what others have changed."""
        self._execute(_BEGIN[mode])
        self.changes, self.only_unindexed = False, True
        self.woken, self.ended, self.used, self.versions = set(), [], [], {}
        self.told.new.clear()
        (version,) = self._execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._states.clear()
            self.told.forget()
            check_migration(*self.run("store_read").fetchone())
            self._version = version
        for state in self._states.values():
            state.now = 0
            state.only_unindexed = True

    def write(self) -> None:
        """Write the states that were used."""
        for state in self.used:
            if state.unindexed:
                # Jobs were put alone, and nothing else was done: what is kept of them is with them.
                assert state.only_unindexed, "a call left jobs unindexed"
                self.versions[state.name] = state.version
                continue
            self.show(state)
            if state.changed:
                self.connection.executemany(load("gate_write"), [gate.row() for gate in state.changed])
                state.changed.clear()
            state.version += self.changes
            self.versions[state.name] = state.version
            self.run("queue_write", state.row())
            state.stored()

    def commit(self) -> None:
        self._execute("COMMIT")

    def roll_back(self) -> None:
        """Undo the transaction, and forget all that was read."""
        self._version = -1
        self._states.clear()
        self.told.forget()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    # ---- statements

    def run(self, name: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self.connection.execute(load(name), parameters)

    def change(self, name: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        self.changes = True
        return self.connection.execute(load(name), parameters)

    def change_many(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        self.changes = True
        self.connection.executemany(load(name), rows)

    # ---- states

    def tick(self, state: QueueState) -> int:
        """The time of a queue, the same for all calls of one transaction, for a call that changes it."""
        if not state.now:
            self.used.append(state)
            state.tick(self.clock.now())
        return state.now

    def queue_state(self, name: str) -> QueueState | None:
        """The state of a queue, if there is such a queue."""
        state = self._states.get(name)
        if state is None:
            found = self.run("queue_find", (name,)).fetchone()
            if found is None:
                return None
            state = self._states[name] = self._read_state(name, found[0])
        return state

    def make_queue(self, name: str) -> QueueState:
        """The state of a queue, which is made if there is none."""
        state = self.queue_state(name)
        if state is None:
            made = self.change("queue_make", (name,)).lastrowid
            self.change("gate_make", (made, ""))
            state = self.queue_state(name)
            assert state is not None
            state.only_unindexed = False
        return state

    def make_gate(self, state: QueueState, task: str | None) -> Gate:
        """The gate of a task, which is made if there is none, or the queue's own (None)."""
        if task is None:
            return state.own
        gate = state.tasks.get(task)
        if gate is None:
            made = self.change("gate_make", (state.id, task)).lastrowid
            assert made is not None
            gate = state.add(Gate(made, task))
        return gate

    def show(self, state: QueueState) -> None:
        """Bring the heads of what was touched up to date, values before tasks."""
        for gate, values in state.touched.items():
            changes = json.dumps(list(values.items()))
            self.run("values_show", (gate.id, gate.value_limit, changes))
            self.run("values_drop", (gate.id, changes))
        state.touched.clear()
        for gate in state.changed:
            if gate.stale:
                heads = self.run("gate_head", (gate.id,)).fetchone()
                gate.head = min((head for head in heads if head is not None), default=None)
                gate.stale = False

    def _read_state(self, name: str, queue: int) -> QueueState:
        (id, _, *own), *tasks = self.run("gates_read", (queue,)).fetchall()
        state = QueueState(name, queue, Gate(id, "", own[:6]), own[6:])
        for id, task, *numbers in tasks:
            state.add(Gate(id, task, numbers[:6]))
        for job, id, gate, key, value, priority, now, caller, number in self.run(
            "unindexed_read", (state.last_indexed, state.number(LAST_ENTRY))
        ):
            state.add_unindexed(id, Unindexed(job, state.by_id[gate], key, value, priority, caller, number), now)
        for gate, override, *settings in self.run("settings_read", (queue,)):
            state.set(state.by_id[gate], GateSettings(*settings), override=bool(override))
        return state
