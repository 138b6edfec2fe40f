"""How jobs come into the queue: put."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from fifoq.queue import Conflict, Full, PutReply, Receipt
from fifoq.record import JobSpec
from fifoq.state import State
from fifoq_sqlite.book import CODE, Book, Gate, score
from fifoq_sqlite.session import Session
from fifoq_sqlite.statements import rows
from fifoq_sqlite.timers import fire

_CHUNKS = (50, 8, 1)
"""How many rows one statement inserts: few texts, so that each stays prepared."""
_READY = 10
"""The place of `ready` in a row."""


def put(session: Session, book: Book, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
    """Enter batches one after another, each as a whole or not at all."""
    now = session.tick(book)
    fire(session, book, now)
    entering = Entering(session, book, now)
    # Nearly always everything is new and fits: then all batches are entered by the same few statements.
    if entering.try_all([spec for batch in batches for spec in batch]):
        return tuple(tuple(Receipt(spec.id, True) for spec in batch) for batch in batches)
    return tuple(entering.batch(batch) for batch in batches)


class Entering:
    """The puts of one transaction, into one queue."""

    def __init__(self, session: Session, book: Book, now: int) -> None:
        self._session = session
        self._book = book
        self._now = now

    def try_all(self, specs: Sequence[JobSpec]) -> bool:
        """Enter all of `specs`, if each is new and all fit; otherwise change nothing."""
        if any(spec.delay or spec.in_line or spec.expires is not None or spec.unique is not None for spec in specs):
            return False
        if self._full(specs) is not None:
            return False
        first = self._book.counter + 1
        table = self._plain_rows(specs)
        if self._insert("jobs_enter", table) < len(table):
            number = self._book.number
            self._session.change("jobs_undo_enter", (number(first), number(first + len(table) - 1)))
            self._book.counter = first - 1
            return False
        self._count(specs, table)
        return True

    def batch(self, batch: Sequence[JobSpec]) -> PutReply:
        """Enter one batch, looking at each job first."""
        fresh: dict[str, JobSpec] = {}
        uniques: dict[str, str] = {}
        receipts: list[Receipt] = []
        for spec in batch:
            if self._conflicts(spec, fresh):
                return Conflict(spec.id)
            there = self._there(spec, fresh, uniques)
            receipts.append(Receipt(there or spec.id, there is None))
            if there is None:
                fresh[spec.id] = spec
                if spec.unique is not None:
                    uniques[spec.unique] = spec.id
        full = self._full(list(fresh.values()))
        if full is not None:
            return full
        self._enter(list(fresh.values()))
        return tuple(receipts)

    # ---- what is there already

    def _conflicts(self, spec: JobSpec, fresh: dict[str, JobSpec]) -> bool:
        """Whether the id is taken by another job."""
        other = fresh.get(spec.id)
        if other is not None:
            return (other.task, other.payload) != (spec.task, spec.payload)
        row = self._session.run("jobs_same_id", (self._book.id, spec.id)).fetchone()
        return row is not None and (self._book.by_id[row[0]].task, row[1]) != (spec.task, spec.payload)

    def _there(self, spec: JobSpec, fresh: dict[str, JobSpec], uniques: dict[str, str]) -> str | None:
        """The id of the job that is in the queue instead of this one."""
        if spec.id in fresh or self._session.run("jobs_same_id", (self._book.id, spec.id)).fetchone():
            return spec.id
        if spec.unique is None:
            return None
        if spec.unique in uniques:
            return uniques[spec.unique]
        row = self._session.run("jobs_holder", (self._book.id, spec.unique)).fetchone()
        return row and row[1]

    def _full(self, specs: Sequence[JobSpec]) -> Full | None:
        """The first capacity that so many do not fit into: the queue's, then the tasks' by name."""
        if not specs:
            return None
        own = self._book.own
        if (capacity := own.settings.capacity) is not None and own.live + len(specs) > capacity:
            return Full(None, capacity, own.live, len(specs))
        for task, asked in sorted(Counter(spec.task for spec in specs).items()):
            gate = self._book.tasks.get(task)
            capacity = gate and gate.settings.capacity
            if gate and capacity is not None and gate.live + asked > capacity:
                return Full(task, capacity, gate.live, asked)
        return None

    # ---- entering

    def _enter(self, specs: Sequence[JobSpec]) -> None:
        table = self._timed_rows(specs)
        self._insert("jobs_enter_timed", table)
        self._count(specs, table)

    def _insert(self, name: str, table: Sequence[tuple[Any, ...]]) -> int:
        """Insert rows; return how many were new."""
        inserted = done = 0
        for chunk in _CHUNKS:
            while len(table) - done >= chunk:
                values = [value for row in table[done : done + chunk] for value in row]
                self._session.changes = True
                inserted += self._session.connection.execute(rows(name, chunk), values).rowcount
                done += chunk
        return inserted

    def _plain_rows(self, specs: Sequence[JobSpec]) -> list[tuple[Any, ...]]:
        """The rows of jobs that wait for nothing."""
        free = self._free_keys({spec.key for spec in specs if spec.key is not None})
        book, now, queue, entry = self._book, self._now, self._book.id, self._book.counter
        waiting = CODE[State.WAITING]
        table: list[tuple[Any, ...]] = []
        for id, task, payload, key, value, priority, _, _, _, _, retain, owner, meta in specs:
            entry += 1
            gate = book.tasks.get(task) or self._session.make_gate(book, task)
            ready = score(priority, entry)
            line = None
            if key is not None:
                line = entry
                if key in free:
                    free.remove(key)
                else:
                    ready = None
            table.append((
                book.number(entry), queue, id, gate.id, key, value, priority, waiting, entry, line, ready,
                now, retain, owner, meta, payload,
            ))  # fmt: skip
        book.counter = entry
        return table

    def _timed_rows(self, specs: Sequence[JobSpec]) -> list[tuple[Any, ...]]:
        """The rows of any jobs."""
        free = self._free_keys({spec.key for spec in specs if spec.key is not None})
        return [self._timed_row(spec, free) for spec in specs]

    def _timed_row(self, spec: JobSpec, free: set[str]) -> tuple[Any, ...]:
        gate = self._book.tasks.get(spec.task) or self._session.make_gate(self._book, spec.task)
        entry = self._book.next_number()
        seq = None if spec.delay > 0 and not spec.in_line else entry
        line = seq if spec.key is not None else None
        head = spec.key is None or spec.key in free
        if line is not None and spec.key is not None:
            free.discard(spec.key)
        due_at = self._now + spec.delay if spec.delay > 0 else None
        expires_at = None if spec.expires is None else self._now + spec.expires
        at = min((time for time in (due_at, expires_at) if time is not None), default=None)
        if at is not None:
            self._book.wake_by(at)
        return (
            self._book.number(entry), self._book.id, spec.id, gate.id, spec.key, spec.value, spec.priority,
            CODE[State.SCHEDULED if seq is None else State.WAITING], seq, line,
            score(spec.priority, entry) if head and due_at is None else None,
            self._now, spec.retain, spec.owner, spec.meta, spec.payload,
            at,
            self._now if line is not None and due_at is not None else None,
            spec.unique, due_at, expires_at, spec.delay, spec.in_line, spec.expires, spec.unique,
        )  # fmt: skip

    def _free_keys(self, keys: Collection[str]) -> set[str]:
        """Those of `keys` that have nobody in line and are not paused: the next job is offered as it comes."""
        if not keys:
            return set()
        (found,) = self._session.run("lines_free", (self._book.id, json.dumps(list(keys)))).fetchone()
        return set(json.loads(found))

    def _count(self, specs: Sequence[JobSpec], table: Sequence[tuple[Any, ...]]) -> None:
        """Count what was entered, and offer what may run."""
        book = self._book
        for (task, scheduled), jobs in Counter(
            (spec.task, spec.delay > 0 and not spec.in_line) for spec in specs
        ).items():
            book.count(book.tasks[task], State.SCHEDULED if scheduled else State.WAITING, jobs)
        for spec, row in zip(specs, table, strict=True):
            self._offer(book.tasks[spec.task], spec.value, row[_READY])

    def _offer(self, gate: Gate, value: str | None, ranked: int | None) -> None:
        if value is not None:
            gate.valued = True
        if ranked is not None:
            self._book.offer(gate, value, ranked)
            self._session.woken.add(self._book.name)
