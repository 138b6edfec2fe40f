"""
Put: jobs enter the queue, by one of two paths.

A small put of jobs without options leaves them unindexed: it writes one page, and the next other call of the queue
indexes such jobs together. Any other put indexes its jobs itself.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fifoq.queue import Call, Conflict, Full, PutReply, Receipt
from fifoq.record import JobSpec, State, fast_constructor
from fifoq_sqlite.queue_state import CODE, ENTRY_BITS, LAST_ENTRY, QueueState, Unindexed, score_of
from fifoq_sqlite.session import Session
from fifoq_sqlite.statements import rows
from fifoq_sqlite.transitions import fire, free_keys, indexed_or_made, nothing_due

SMALL_PUT = 8
"""Jobs of one call that are left unindexed at most; more jobs are cheaper indexed at once."""
MAX_UNINDEXED = 256
"""Jobs of a queue that are left unindexed at most: every connection that reads the queue's state reads them."""
NO_OPTIONS = (0, False, None, None)
"""`delay`, `in_line`, `expires` and `unique` of a plain job: one without options."""
_CHUNKS = (50, 8, 1)
"""How many rows one statement inserts: few sizes, so that each statement stays prepared."""
_READY = 10
"""The index of `ready` in a row."""

_receipt, _unindexed = fast_constructor(Receipt), fast_constructor(Unindexed)


def put(session: Session, name: str, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
    """Enter batches one after another, each as a whole or not at all."""
    state = session.queue_state(name)
    specs = batches[0] if len(batches) == 1 else [spec for batch in batches for spec in batch]
    if state is not None and len(specs) == len(batches) <= SMALL_PUT:
        replies = put_unindexed(session, state, call, specs)
        if replies is not None:
            return replies
    state = indexed_or_made(session, name)
    now = session.tick(state)
    fire(session, state, now)
    indexed = IndexedPut(session, state, now)
    # Nearly always every job is new and fits: then all batches are inserted by the same few statements.
    if indexed.try_all(specs):
        return tuple([tuple([_receipt((spec.id, True)) for spec in batch]) for batch in batches])
    return tuple(indexed.put_batch(batch) for batch in batches)


def is_plain(spec: JobSpec) -> bool:
    return spec[6:10] == NO_OPTIONS


def find_full(state: QueueState, specs: Sequence[JobSpec]) -> Full | None:
    """Return the first capacity that the jobs exceed: the queue's, then the tasks' by name; None if they fit."""
    if not state.capped:
        return None
    own = state.own_gate
    capacity = own.settings.capacity
    if specs and capacity is not None and own.live + len(specs) > capacity:
        return Full(None, capacity, own.live, len(specs))
    for task, asked in sorted(Counter(spec.task for spec in specs).items()):
        gate = state.tasks.get(task)
        capacity = gate and gate.settings.capacity
        if gate and capacity is not None and gate.live + asked > capacity:
            return Full(task, capacity, gate.live, asked)
    return None


# ---- small puts, unindexed ----


def put_unindexed(
    session: Session, state: QueueState, call: Call, specs: Sequence[JobSpec]
) -> tuple[PutReply, ...] | None:
    """
    Store `specs`, a batch of each, without indexing them, and return the replies.

    Returns None, and has done nothing, if one of them is a duplicate, is of a new task, has options or exceeds a
    capacity, if a timer is due, if the queue has too many unindexed jobs, or if another call of the transaction has
    indexed them.
    """
    if not state.only_unindexed or len(state.unindexed) + len(specs) > MAX_UNINDEXED:
        return None
    for spec in specs:
        if spec.task not in state.tasks or spec.id in state.unindexed or spec[6:10] != NO_OPTIONS:
            return None
    if len(specs) > 1 and len({spec.id for spec in specs}) < len(specs):
        return None
    if state.capped and find_full(state, specs) is not None:
        return None
    now = session.tick(state)
    if state.clock_was_set or (now >= state.no_timer_before and not nothing_due(session, state, now)):
        return None
    return _insert_unindexed(session, state, call, specs, now)


def _insert_unindexed(
    session: Session, state: QueueState, call: Call, specs: Sequence[JobSpec], now: int
) -> tuple[PutReply, ...] | None:
    """Insert the jobs, unless an indexed job has one of their ids."""
    # sqlite3 looks for an adapter of None and of bytes, 0.3 µs each: 0 stands for NULL, a bytearray for bytes.
    values: list[object] = []
    unindexed: list[Unindexed] = []
    replies: list[PutReply] = []
    caller, number = call
    first = (state.id << ENTRY_BITS) + state.counter + 1
    for job, spec in enumerate(specs, first):
        id, task, payload, key, value, priority, _, _, _, _, retain, owner, meta = spec
        gate = state.tasks[task]
        values += (
            job, id, state.id, id, gate.id, 0 if key is None else key, 0 if value is None else value, priority,
            job & LAST_ENTRY, now, retain,
            0 if owner is None else owner, bytearray(meta), bytearray(payload), caller, number,
        )  # fmt: skip
        unindexed.append(_unindexed((job, gate, key, value, priority, caller, number)))
        replies.append((_receipt((id, True)),))
    entered = session.connection.execute(rows("unindexed_enter", len(specs)), values).rowcount
    if entered < len(specs):
        if entered:
            session.run("jobs_undo_enter", (first, first + len(specs) - 1))
        return None
    for spec, one in zip(specs, unindexed, strict=True):
        state.add_unindexed(spec.id, one, now)
    session.changes = True
    session.woken.add(state.name)
    return tuple(replies)


# ---- other puts, indexed ----


class IndexedPut:
    """A put of one call into one queue, whose jobs are indexed as they enter."""

    def __init__(self, session: Session, state: QueueState, now: int) -> None:
        self._session = session
        self._state = state
        self._now = now

    def try_all(self, specs: Sequence[JobSpec]) -> bool:
        """Enter all of `specs`, if each is plain and new and all fit; otherwise change nothing."""
        if not all(map(is_plain, specs)) or find_full(self._state, specs) is not None:
            return False
        first = self._state.counter + 1
        table = self._plain_rows(specs)
        if self._insert("jobs_enter", table) < len(table):
            job = self._state.job
            self._session.change("jobs_undo_enter", (job(first), job(first + len(table) - 1)))
            self._state.counter = first - 1
            return False
        self._count(specs, table)
        return True

    def put_batch(self, batch: Sequence[JobSpec]) -> PutReply:
        """Enter one batch, after a check of each job."""
        fresh: dict[str, JobSpec] = {}
        uniques: dict[str, str] = {}
        receipts: list[Receipt] = []
        for spec in batch:
            if self._conflicts(spec, fresh):
                return Conflict(spec.id)
            existing = self._existing(spec, fresh, uniques)
            receipts.append(Receipt(existing or spec.id, existing is None))
            if existing is None:
                fresh[spec.id] = spec
                if spec.unique is not None:
                    uniques[spec.unique] = spec.id
        full = find_full(self._state, list(fresh.values()))
        if full is not None:
            return full
        self._enter(list(fresh.values()))
        return tuple(receipts)

    def _conflicts(self, spec: JobSpec, fresh: dict[str, JobSpec]) -> bool:
        """Return whether another job has the id: one of another task or payload."""
        other = fresh.get(spec.id)
        if other is not None:
            return (other.task, other.payload) != (spec.task, spec.payload)
        row = self._session.run("jobs_by_id", (self._state.id, spec.id)).fetchone()
        if row is None:
            return False
        gate = self._state.by_id.get(row[0])
        return gate is None or (gate.task, row[1]) != (spec.task, spec.payload)

    def _existing(self, spec: JobSpec, fresh: dict[str, JobSpec], uniques: dict[str, str]) -> str | None:
        """Return the id of the job that has the same id or unique text, if there is one."""
        if spec.id in fresh or self._session.run("jobs_by_id", (self._state.id, spec.id)).fetchone():
            return spec.id
        if spec.unique is None:
            return None
        if spec.unique in uniques:
            return uniques[spec.unique]
        row = self._session.run("jobs_by_unique", (self._state.id, spec.unique)).fetchone()
        return row and row[1]

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
        """Return the rows of plain jobs, with 0 for NULL and a bytearray for bytes, as in `_insert_unindexed`."""
        free = free_keys(self._session, self._state, {spec.key for spec in specs if spec.key is not None})
        state, now, queue, entry = self._state, self._now, self._state.id, self._state.counter
        waiting = CODE[State.WAITING]
        table: list[tuple[Any, ...]] = []
        for id, task, payload, key, value, priority, _, _, _, _, retain, owner, meta in specs:
            entry += 1
            gate = state.tasks.get(task) or self._session.make_gate(state, task)
            ready = score_of(priority, entry)
            if key in free:
                free.remove(key)
            elif key is not None:
                ready = 0
            table.append((
                state.job(entry), queue, id, gate.id, 0 if key is None else key, 0 if value is None else value,
                priority, waiting, entry, 0 if key is None else entry, ready,
                now, retain, 0 if owner is None else owner, bytearray(meta), bytearray(payload),
            ))  # fmt: skip
        state.counter = entry
        return table

    def _timed_rows(self, specs: Sequence[JobSpec]) -> list[tuple[Any, ...]]:
        """Return the rows of any jobs."""
        free = free_keys(self._session, self._state, {spec.key for spec in specs if spec.key is not None})
        return [self._timed_row(spec, free) for spec in specs]

    def _timed_row(self, spec: JobSpec, free: set[str]) -> tuple[Any, ...]:
        gate = self._state.tasks.get(spec.task) or self._session.make_gate(self._state, spec.task)
        entry = self._state.next_number()
        seq = None if spec.delay > 0 and not spec.in_line else entry
        line = seq if spec.key is not None else None
        head = spec.key is None or spec.key in free
        if line is not None and spec.key is not None:
            free.discard(spec.key)
        due_at = self._now + spec.delay if spec.delay > 0 else None
        expires_at = None if spec.expires is None else self._now + spec.expires
        at = min((time for time in (due_at, expires_at) if time is not None), default=None)
        if at is not None:
            self._state.add_timer(at)
        return (
            self._state.job(entry), self._state.id, spec.id, gate.id, spec.key, spec.value, spec.priority,
            CODE[State.SCHEDULED if seq is None else State.WAITING], seq, line,
            score_of(spec.priority, entry) if head and due_at is None else None,
            self._now, spec.retain, spec.owner, spec.meta, spec.payload,
            at,
            self._now if line is not None and due_at is not None else None,
            spec.unique, due_at, expires_at, spec.delay, spec.in_line, spec.expires, spec.unique,
        )  # fmt: skip

    def _count(self, specs: Sequence[JobSpec], table: Sequence[tuple[Any, ...]]) -> None:
        """Count the entered jobs, and offer those that may run."""
        state = self._state
        for (task, later), jobs in Counter((spec.task, spec.delay > 0 and not spec.in_line) for spec in specs).items():
            state.count(state.tasks[task], State.SCHEDULED if later else State.WAITING, jobs)
        for spec, row in zip(specs, table, strict=True):
            ready = row[_READY]
            state.enter(state.tasks[spec.task], spec.value, ready or None)
            if ready:
                self._session.woken.add(state.name)
