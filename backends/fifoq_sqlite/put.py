"""How jobs come into the queue: put."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fifoq.queue import Call, Conflict, Full, PutReply, Receipt
from fifoq.record import JobSpec, State, fast_constructor
from fifoq_sqlite.queue_state import CODE, ENTRY_BITS, LAST_ENTRY, QueueState, Unindexed, score
from fifoq_sqlite.session import Session
from fifoq_sqlite.statements import rows
from fifoq_sqlite.transitions import fire, free_keys, indexed_or_made, nothing_due

_unindexed, _receipt = fast_constructor(Unindexed), fast_constructor(Receipt)

FEW = 8
"""So many jobs of one call are worth leaving unindexed; more are cheaper filed at once."""
PLAIN = (0, False, None, None)
"""`delay`, `in_line`, `expires` and `unique` of a job that waits for nothing but its turn."""
MOST = 256
"""So many jobs of a queue are left unindexed at a time: to read them again must stay cheap."""


def put_unindexed(
    session: Session, state: QueueState, call: Call, specs: Sequence[JobSpec]
) -> tuple[PutReply, ...] | None:
    """
    Store `specs` without filing them, and return the reply to as many batches of one; if nothing speaks against it.

    Returns None, and has done nothing, if there is a duplicate, a limit, a timer or an option.
    """
    if not state.only_unindexed or len(state.unindexed) + len(specs) > MOST:
        return None
    for spec in specs:
        if spec.task not in state.tasks or spec.id in state.unindexed or spec[6:10] != PLAIN:
            return None
    if len(specs) > 1 and len({spec.id for spec in specs}) < len(specs):
        return None
    if state.bounded and full(state, specs) is not None:
        return None
    now = session.tick(state)
    if state.set_back or (now >= state.alarm and not nothing_due(session, state, now)):
        return None
    return _store(session, state, call, specs, now)


def plain(spec: JobSpec) -> bool:
    """Whether a job waits for nothing but its turn."""
    return spec[6:10] == PLAIN


def full(state: QueueState, specs: Sequence[JobSpec]) -> Full | None:
    """The first capacity that so many do not fit into: the queue's, then the tasks' by name."""
    if not state.bounded:
        return None
    own = state.own
    capacity = own.settings.capacity
    if specs and capacity is not None and own.live + len(specs) > capacity:
        return Full(None, capacity, own.live, len(specs))
    for task, asked in sorted(Counter(spec.task for spec in specs).items()):
        gate = state.tasks.get(task)
        capacity = gate and gate.settings.capacity
        if gate and capacity is not None and gate.live + asked > capacity:
            return Full(task, capacity, gate.live, asked)
    return None


def _store(
    session: Session, state: QueueState, call: Call, specs: Sequence[JobSpec], now: int
) -> tuple[PutReply, ...] | None:
    """Store them, if no filed job has one of their ids."""
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


_receipt = fast_constructor(Receipt)

_CHUNKS = (50, 8, 1)
"""How many rows one statement inserts: few texts, so that each stays prepared."""
_READY = 10
"""The place of `ready` in a row."""


def put(session: Session, name: str, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
    """Enter batches one after another, each as a whole or not at all."""
    state = session.queue_state(name)
    specs = batches[0] if len(batches) == 1 else [spec for batch in batches for spec in batch]
    if state is not None and len(specs) == len(batches) <= FEW:
        replies = put_unindexed(session, state, call, specs)
        if replies is not None:
            return replies
    state = indexed_or_made(session, name)
    now = session.tick(state)
    fire(session, state, now)
    entering = Entering(session, state, now)
    # Nearly always everything is new and fits: then all batches are entered by the same few statements.
    if entering.try_all(specs):
        return tuple([tuple([_receipt((spec.id, True)) for spec in batch]) for batch in batches])
    return tuple(entering.batch(batch) for batch in batches)


class Entering:
    """The puts of one transaction, into one queue."""

    def __init__(self, session: Session, state: QueueState, now: int) -> None:
        self._session = session
        self._state = state
        self._now = now

    def try_all(self, specs: Sequence[JobSpec]) -> bool:
        """Enter all of `specs`, if each is new and all fit; otherwise change nothing."""
        if not all(map(plain, specs)) or full(self._state, specs) is not None:
            return False
        first = self._state.counter + 1
        table = self._plain_rows(specs)
        if self._insert("jobs_enter", table) < len(table):
            number = self._state.number
            self._session.change("jobs_undo_enter", (number(first), number(first + len(table) - 1)))
            self._state.counter = first - 1
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
        no_room = full(self._state, list(fresh.values()))
        if no_room is not None:
            return no_room
        self._enter(list(fresh.values()))
        return tuple(receipts)

    # ---- what is there already

    def _conflicts(self, spec: JobSpec, fresh: dict[str, JobSpec]) -> bool:
        """Whether the id is taken by another job."""
        other = fresh.get(spec.id)
        if other is not None:
            return (other.task, other.payload) != (spec.task, spec.payload)
        row = self._session.run("jobs_same_id", (self._state.id, spec.id)).fetchone()
        return row is not None and (self._state.by_id[row[0]].task, row[1]) != (spec.task, spec.payload)

    def _there(self, spec: JobSpec, fresh: dict[str, JobSpec], uniques: dict[str, str]) -> str | None:
        """The id of the job that is in the queue instead of this one."""
        if spec.id in fresh or self._session.run("jobs_same_id", (self._state.id, spec.id)).fetchone():
            return spec.id
        if spec.unique is None:
            return None
        if spec.unique in uniques:
            return uniques[spec.unique]
        row = self._session.run("jobs_holder", (self._state.id, spec.unique)).fetchone()
        return row and row[1]

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
        """The rows of jobs that wait for nothing; 0 stands for NULL, as in `fifoq_sqlite.alone`."""
        free = free_keys(self._session, self._state, {spec.key for spec in specs if spec.key is not None})
        state, now, queue, entry = self._state, self._now, self._state.id, self._state.counter
        waiting = CODE[State.WAITING]
        table: list[tuple[Any, ...]] = []
        for id, task, payload, key, value, priority, _, _, _, _, retain, owner, meta in specs:
            entry += 1
            gate = state.tasks.get(task) or self._session.make_gate(state, task)
            ready = score(priority, entry)
            if key in free:
                free.remove(key)
            elif key is not None:
                ready = 0
            table.append((
                state.number(entry), queue, id, gate.id, 0 if key is None else key, 0 if value is None else value,
                priority, waiting, entry, 0 if key is None else entry, ready,
                now, retain, 0 if owner is None else owner, bytearray(meta), bytearray(payload),
            ))  # fmt: skip
        state.counter = entry
        return table

    def _timed_rows(self, specs: Sequence[JobSpec]) -> list[tuple[Any, ...]]:
        """The rows of any jobs."""
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
            self._state.wake_by(at)
        return (
            self._state.number(entry), self._state.id, spec.id, gate.id, spec.key, spec.value, spec.priority,
            CODE[State.SCHEDULED if seq is None else State.WAITING], seq, line,
            score(spec.priority, entry) if head and due_at is None else None,
            self._now, spec.retain, spec.owner, spec.meta, spec.payload,
            at,
            self._now if line is not None and due_at is not None else None,
            spec.unique, due_at, expires_at, spec.delay, spec.in_line, spec.expires, spec.unique,
        )  # fmt: skip

    def _count(self, specs: Sequence[JobSpec], table: Sequence[tuple[Any, ...]]) -> None:
        """Count what was entered, and offer what may run."""
        state = self._state
        for (task, later), jobs in Counter((spec.task, spec.delay > 0 and not spec.in_line) for spec in specs).items():
            state.count(state.tasks[task], State.SCHEDULED if later else State.WAITING, jobs)
        for spec, row in zip(specs, table, strict=True):
            ready = row[_READY]
            state.enter(state.tasks[spec.task], spec.value, ready or None)
            if ready:
                self._session.woken.add(state.name)
