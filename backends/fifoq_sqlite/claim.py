"""Claim: the choice of the next jobs, and their leases."""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from heapq import heapify, heappop, heappush
from itertools import product
from typing import Any, NamedTuple

from fifoq.queue import Call
from fifoq.record import Claimed, JobSpec, Lease
from fifoq_sqlite.damage import is_number, is_score, is_text, is_text_or_nothing
from fifoq_sqlite.queue_state import LAST_ENTRY, UNBOUNDED, Gate, QueueState
from fifoq_sqlite.session import Session
from fifoq_sqlite.transitions import fire, indexed, mend_all, next_timer

_FIRST_READ = 8
"""Jobs read first of a leaf that competes with others."""

ReadyRow = tuple[Any, ...]
"""A row of `jobs_ready`; its first column is the score."""


class Terms(NamedTuple):
    """The parameters of a claim."""

    worker: str
    n: int
    lease: int
    tasks: Collection[str]


def claim(session: Session, name: str, call: Call, terms: Terms) -> Claimed:
    """Lease up to n jobs: n times the claimable job with the smallest score."""
    state = indexed(session, name)
    if state is None:
        return Claimed((), None)
    now = session.tick(state)
    fire(session, state, now)
    session.update_heads(state)
    chosen = list(Choice(session, state, now, terms).take())
    leases = _lease(session, state, call, terms, chosen) if chosen else ()
    if len(leases) < terms.n and state.tasks.keys() <= frozenset(terms.tasks):
        session.woken.discard(name)  # all that was claimable is leased
    return Claimed(leases, next_timer(session, state, now))


_TEXT, _NUMBER, _BYTES, _NOTHING = (str,), (int,), (bytes,), (type(None),)
_SOUND = frozenset(
    product(
        *(_NUMBER, _NUMBER, _TEXT, _BYTES, _TEXT + _NOTHING, _NUMBER, _NUMBER, _NUMBER, _NUMBER + _NOTHING),
        *(_TEXT + _NOTHING, _NUMBER, _TEXT + _NOTHING, _BYTES, _NUMBER, _NUMBER, _NUMBER, _NUMBER, _NUMBER),
    )
)


def is_sound(row: ReadyRow) -> bool:
    """Whether all columns of a row of `jobs_ready` are of their types: its job may run."""
    return tuple(map(type, row)) in _SOUND


def _may_be_leased(row: ReadyRow) -> bool:
    """Whether all those columns are of their types on which a lease and its end depend."""
    ready, _, id, _, key, priority, _, _, _, unique, retain, owner, _, *numbers, _ = row
    return (
        is_score(ready)
        and is_text(id)
        and all(map(is_text_or_nothing, (key, unique, owner)))
        and all(map(is_number, (priority, retain, *numbers)))
    )


class Leaf:
    """A leaf of the tree of gates: the offered jobs of one value of a task, or those without a value, by score."""

    def __init__(self, session: Session, state: QueueState, gate: Gate, value: str | None, room: int) -> None:
        self.gate = gate
        self._state = state
        self.value = value
        self.room = room
        """How many more jobs the gate of the value lets start."""
        self._session = session
        self._rows: list[ReadyRow] = []
        self._last = 0
        self._size = _FIRST_READ
        self._more = True

    def first(self, at_most: int, *, only: bool = False) -> ReadyRow | None:
        """Return the first job not taken yet. If needed, read up to `at_most`, fewer unless this is the only leaf."""
        if not self._rows and self._more:
            size = min(at_most, self.room + 1)
            if not only:
                size = min(size, self._size)
                self._size *= 4
            self._rows = self._read(size)
            self._rows.reverse()
            self._more = len(self._rows) == size
        return self._rows[-1] if self._rows else None

    def _read(self, size: int) -> list[ReadyRow]:
        """Read the next jobs. Damaged ones are mended, so that they can be leased."""
        id = self._state.id
        while True:
            rows = self._session.rows("jobs_ready", (self.gate.id, self.value, self._last, size))
            wrong = [row[1] for row in rows if row[-1] != id or not (is_sound(row) or _may_be_leased(row))]
            if not wrong:
                return rows
            mend_all(self._session, self._state, wrong)

    def take(self) -> None:
        """Take the first job."""
        self._last = self._rows.pop()[0]
        self.room -= 1


class Choice:
    """The choice of the jobs of one claim: a heap of leaves by their first scores, without the leaves of shut gates."""

    def __init__(self, session: Session, state: QueueState, now: int, terms: Terms) -> None:
        self._session = session
        self._state = state
        self._left = min(terms.n, state.own_gate.room(now))
        self._rooms = {gate: gate.room(now) for gate in self._known(terms.tasks) if gate.head is not None}
        # Each leaf has a number, so that the heap never compares leaves.
        self._heap = [(first, number, leaf) for number, (first, leaf) in enumerate(self._leaves())]
        heapify(self._heap)

    def take(self) -> Iterator[tuple[Gate, str | None, ReadyRow]]:
        """Yield the chosen jobs with their gates and values, in order."""
        while self._left and self._heap:
            _, number, leaf = heappop(self._heap)
            bound = self._heap[0][0] if self._heap else UNBOUNDED
            while self._left and leaf.room and self._rooms[leaf.gate]:
                row = leaf.first(self._left, only=not self._heap)
                if row is None:
                    break
                if row[0] > bound:
                    heappush(self._heap, (row[0], number, leaf))
                    break
                leaf.take()
                self._left -= 1
                self._rooms[leaf.gate] -= 1
                yield leaf.gate, leaf.value, row

    def _known(self, tasks: Collection[str]) -> list[Gate]:
        known = self._state.tasks
        if len(tasks) < len(known):
            return [known[task] for task in set(tasks) if task in known]
        wanted = frozenset(tasks)
        return [gate for task, gate in known.items() if task in wanted]

    def _leaves(self) -> Iterator[tuple[int, Leaf]]:
        if not self._left:
            return
        for gate, room in self._rooms.items():
            if not room:
                continue
            if not gate.valued:
                assert gate.head is not None
                yield gate.head, Leaf(self._session, self._state, gate, None, UNBOUNDED)
                continue
            direct = Leaf(self._session, self._state, gate, None, UNBOUNDED)
            if row := direct.first(self._left):
                yield row[0], direct
            # More values than this are never needed: each of them that is used gives at least one job.
            for value, running, head in self._session.run("values_heads", (gate.id, self._left)).fetchall():
                first = head if type(head) is int else 0
                yield first, Leaf(self._session, self._state, gate, value, gate.value_limit - running)


def _lease(
    session: Session, state: QueueState, call: Call, terms: Terms, chosen: list[tuple[Gate, str | None, ReadyRow]]
) -> tuple[Lease, ...]:
    now, first = state.now, state.fence + 1
    state.fence += len(chosen)
    prefix = f"{call.caller}.{call.number}."
    jobs = json.dumps([row[1] for _, _, row in chosen])
    session.change("jobs_lease", (now + terms.lease, prefix, first, now, terms.worker, jobs))
    state.add_timer(now + terms.lease)
    _count(state, chosen)
    return tuple(
        _lease_of(gate.task, value, row, f"{prefix}{fence}", fence, now)
        for fence, (gate, value, row) in enumerate(chosen, first)
    )


def _count(state: QueueState, chosen: list[tuple[Gate, str | None, ReadyRow]]) -> None:
    """Take the slots and tokens of the leases."""
    for gate, jobs in Counter(gate for gate, _, _ in chosen).items():
        state.start(gate, jobs)
    for gate, value, _ in chosen:
        if value is not None:
            state.touch(gate, value, 1)


def _lease_of(task: str, value: str | None, row: ReadyRow, token: str, fence: int, now: int) -> Lease:
    (_, job, id, payload, key, priority, delay, in_line, expires, unique, retain, owner, meta,
     seq, attempt, crashes, created_at, _) = row  # fmt: skip
    if not is_sound(row):
        reason = delay if isinstance(delay, str) else "its call is of another type"
        spec = JobSpec(id, task, b"", key, value)
        return Lease(spec, token, fence, job & LAST_ENTRY, seq, attempt + 1, 0, created_at, now, reason)
    spec = JobSpec(id, task, payload, key, value, priority, delay, bool(in_line), expires, unique, retain, owner, meta)
    return Lease(spec, token, fence, job & LAST_ENTRY, seq, attempt + 1, crashes, created_at, now)
