"""
Transitions of jobs from state to state, collected during a call and written at its end with few statements.

With them are the timers that cause transitions, and the indexing of jobs of small puts, which every other call needs
first.
"""

import json
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from fifoq.queue import MAX_TIMERS, Receipt
from fifoq.record import State
from fifoq_sqlite.damage import (
    is_number,
    is_number_or_nothing,
    is_score,
    is_text,
    is_text_or_nothing,
    mend,
)
from fifoq_sqlite.queue_state import CODE, LAST_ENTRY, STATES, UNBOUNDED, Gate, QueueState, Unindexed, score_of
from fifoq_sqlite.replies import encode
from fifoq_sqlite.session import Session


class JobRef(NamedTuple):
    """A job with its gate, key and value: the parts that its transitions need."""

    job: int
    id: str
    gate: Gate
    key: str | None
    value: str | None
    retain: int


class End(NamedTuple):
    """The end of a job. `retain` is that of the settlement; `error` None keeps the job's last error."""

    state: State
    retain: int = 0
    result: bytes | None = None
    error: bytes | None = None
    reason: str | None = None


class Transitions:
    """
    The transitions of one call. The counts are right at once, the rows of the jobs after `write`.

    `write` reads the heads of lines after all transitions, and offers the jobs that are heads then.
    """

    def __init__(self, session: Session, state: QueueState, now: int) -> None:
        self._session = session
        self._state = state
        self._now = now
        self._removed: list[int] = []
        self._ended: list[tuple[Any, ...]] = []
        self._put_back: list[tuple[Any, ...]] = []
        self._fallen_due: list[tuple[Any, ...]] = []
        self._keys: dict[str, None] = {}

    def end(self, ref: JobRef, before: State, end: End) -> None:
        """End a job, and remove it unless it is to be kept."""
        kept = max(ref.retain, end.retain)
        self._leave(ref, before, end.state if kept else None)
        self._session.ended.append((self._state.name, ref.id))
        if kept:
            self._ended.append(
                (CODE[end.state], self._now, end.result, end.error, end.reason, kept, ref.job),
            )
        else:
            self._removed.append(ref.job)

    def halt(self, ref: JobRef, error: bytes, retain: int) -> None:
        """Fail a running job and halt its key: the job keeps its place."""
        self._leave(ref, State.RUNNING, State.FAILED)
        self._session.ended.append((self._state.name, ref.id))
        self._session.change("jobs_halt", (self._now, error, max(ref.retain, retain), ref.job))

    def put_back(
        self, ref: JobRef, score: int, after: int = 0, error: bytes | None = None, *, refund: bool = False
    ) -> None:
        """Return a running job to its place, claimable `after` microseconds from now."""
        self._leave(ref, State.RUNNING, State.WAITING)
        due_at = self._now + after if after > 0 else None
        since = self._now if due_at is not None and ref.key is not None else None
        ready = score if due_at is None else None
        if due_at is not None:
            self._state.add_timer(due_at)
        self._put_back.append((due_at, since, self._offer(ref, ready), error, int(refund), 0, ref.job))

    def crash(self, ref: JobRef, score: int) -> None:
        """Return a running job whose lease expired to its place, claimable at once."""
        self._leave(ref, State.RUNNING, State.WAITING)
        self._put_back.append((None, None, self._offer(ref, score), None, 0, 1, ref.job))

    def fall_due(self, ref: JobRef, before: State, priority: int, seq: int, next_timer: int | None) -> None:
        """Make a job claimable whose delay or back-off is over."""
        if before is State.SCHEDULED:
            self._state.move(ref.gate, before, State.WAITING)
        line = None if ref.key is None else seq
        self._fallen_due.append((seq, line, self._offer(ref, score_of(priority, seq)), next_timer, ref.job))

    def write(self) -> None:
        """Write the jobs, then offer the heads of the lines that changed."""
        change_many = self._session.change_many
        if self._removed:
            self._session.change("jobs_remove", (json.dumps(self._removed),))
        for name, rows in (
            ("jobs_end", self._ended),
            ("jobs_put_back", self._put_back),
            ("jobs_fall_due", self._fallen_due),
        ):
            if rows:
                change_many(name, rows)
        if self._keys:
            offer_heads(self._session, self._state, self._keys)

    def _leave(self, ref: JobRef, before: State, after: State | None) -> None:
        self._state.move(ref.gate, before, after)
        if before is State.RUNNING:
            self._free_slots(ref)
        else:
            self._state.touch(ref.gate, ref.value)
        if ref.key is not None and before is not State.SCHEDULED:
            self._keys[ref.key] = None

    def _free_slots(self, ref: JobRef) -> None:
        """Free the job's slots of its value, its task and the queue."""
        if ref.value is not None:
            self._state.touch(ref.gate, ref.value, -1)
        if ref.value is not None or self._state.own_gate.settings.limit or ref.gate.settings.limit:
            self._session.woken.add(self._state.name)

    def _offer(self, ref: JobRef, ready: int | None) -> int | None:
        """Offer a job without a key at once, and return its score; for one with a key, `write` reads its line."""
        if ref.key is not None:
            self._keys[ref.key] = None
            return None
        if ready is not None:
            self._state.offer(ref.gate, ref.value, ready)
            self._session.woken.add(self._state.name)
        return ready


def offer_heads(session: Session, state: QueueState, keys: Collection[str]) -> None:
    """Offer the heads of these keys' lines, if they may be offered and are not yet."""
    while True:
        heads = session.rows("lines_heads", (state.id, json.dumps(list(keys))))
        wrong = [job for job, gate, value, score, is_right in heads if not (
            is_right and gate in state.by_id and is_text_or_nothing(value) and is_score(score)
        )]  # fmt: skip
        if not wrong:
            break
        for job in wrong:
            mend(session, state, job)
    if not heads:
        return
    session.change("jobs_offer", (json.dumps([job for job, *_ in heads]),))
    for _, gate, value, score, _ in heads:
        state.offer(state.by_id[gate], value, score)
    session.woken.add(state.name)


def mend_all(session: Session, state: QueueState, jobs: Iterable[int]) -> None:
    """Mend damaged jobs, and offer the heads of lines that they have left."""
    jobs = list(jobs)
    if not jobs:
        return
    session.tick(state)
    for job in jobs:
        mend(session, state, job)
    offer_heads(session, state, [key for (key,) in session.rows("lines_stuck", (state.id,)) if is_text(key)])
    session.update_heads(state)


# ---- timers ----


def fire(session: Session, state: QueueState, now: int) -> None:
    """Fire the timers that are due, by (time, entry), at most `MAX_TIMERS`."""
    if nothing_due(session, state, now):
        return
    due = _due(session, state, now)
    transitions = Transitions(session, state, now)
    for job, id, gate, key, value, retain, *rest in due:
        _fire(session, state, now, transitions, JobRef(job, id, state.by_id[gate], key, value, retain), rest)
    transitions.write()
    state.no_timer_before = 0
    session.woken.add(state.name)


def _due(session: Session, state: QueueState, now: int) -> list[Any]:
    while True:
        due = session.rows("timers_due", (state.id, now, MAX_TIMERS))
        wrong = [row[0] for row in due if not _is_usable(state, row)]
        if not wrong:
            return due
        mend_all(session, state, wrong)


def _is_usable(state: QueueState, row: tuple[Any, ...]) -> bool:
    """Whether the columns of a row of `timers_due` are of their types."""
    _, id, gate, key, value, retain, code, priority, seq, expires_at, _, reason = row
    return (
        is_text(id)
        and gate in state.by_id
        and all(map(is_text_or_nothing, (key, value, reason)))
        and all(map(is_number, (retain, priority)))
        and all(map(is_number_or_nothing, (seq, expires_at)))
        and code in (0, 1, 2)
        and (seq is not None or code == 0)
    )


def _fire(
    session: Session, state: QueueState, now: int, transitions: Transitions, ref: JobRef, rest: list[Any]
) -> None:
    code, priority, seq, expires_at, cancel_requested, reason = rest
    before = State(STATES[code])
    if before is State.RUNNING:
        if cancel_requested:
            session.change("jobs_adjust_counts", (0, 1, ref.job))
            transitions.end(ref, before, End(State.CANCELLED, reason=reason))
        else:
            transitions.crash(ref, score_of(priority, seq))
    elif expires_at is not None and expires_at <= now:
        transitions.end(ref, before, End(State.CANCELLED, reason="expired"))
    else:
        transitions.fall_due(ref, before, priority, seq or state.next_number(), expires_at)


def nothing_due(session: Session, state: QueueState, now: int) -> bool:
    """Return whether no timer is due: nearly always without a query, by the time that an earlier call read."""
    return now < state.no_timer_before or now < _next_timer_at(session, state)


def next_timer(session: Session, state: QueueState, now: int) -> int | None:
    """Return the microseconds until the next timer, or until the next token of a rate that has none."""
    waits = [gate.token_in(now) for gate in (state.own_gate, *state.tasks.values())]
    first = _next_timer_at(session, state)
    if first < UNBOUNDED:
        return min([max(0, first - now), *(wait for wait in waits if wait)])
    return min((wait for wait in waits if wait), default=None)


def _next_timer_at(session: Session, state: QueueState) -> int:
    first, last = session.run("timers_next", (state.id,)).fetchone()
    while not (is_number_or_nothing(first) and is_number_or_nothing(last)):
        # The last is the largest: SQLite sorts texts and other bytes behind all numbers.
        mend_all(session, state, [job for (job,) in session.rows("timers_damaged", (state.id,))])
        first, last = session.run("timers_next", (state.id,)).fetchone()
    state.no_timer_before = UNBOUNDED if first is None else first
    return state.no_timer_before


# ---- indexing the jobs of small puts ----


def indexed(session: Session, name: str) -> QueueState | None:
    """Return the state of a queue, with all jobs indexed, or None if there is no such queue."""
    session.only_unindexed = False
    state = session.queue_state(name)
    if state is not None:
        state.only_unindexed = False
        if state.unindexed:
            _index(session, state)
    return state


def indexed_or_made(session: Session, name: str) -> QueueState:
    """Return the same, of a queue that is made if there is none."""
    return indexed(session, name) or session.make_queue(name)


def free_keys(session: Session, state: QueueState, keys: set[str]) -> set[str]:
    """Return those of `keys` that have no live job and are not paused: the next job of each is offered at once."""
    if not keys:
        return set()
    (found,) = session.run("lines_free", (state.id, json.dumps(list(keys)))).fetchone()
    return set(json.loads(found))


def _index(session: Session, state: QueueState) -> None:
    unindexed, state.unindexed = state.unindexed, {}
    session.tick(state)
    jobs = list(unindexed.values())
    free = free_keys(session, state, {one.key for one in jobs if one.key is not None})
    heads: list[int] = []
    for one in jobs:
        offered = one.key is None or one.key in free
        if one.key is not None and offered:
            free.remove(one.key)
            heads.append(one.job)
        state.enter(one.gate, one.value, score_of(one.priority, one.job & LAST_ENTRY) if offered else None)
    session.change("unindexed_index", (state.id, jobs[0].job, jobs[-1].job, json.dumps(heads)))
    damaged, state.damaged = state.damaged, []
    if damaged:
        mend_all(session, state, damaged)
    _save_replies(session, state, unindexed)
    session.woken.add(state.name)


def _save_replies(session: Session, state: QueueState, jobs: dict[str, Unindexed]) -> None:
    """Store the reply to each caller's last put, which until now only the rows of its jobs held."""
    last: dict[str, tuple[int, list[str]]] = {}
    for id, one in jobs.items():
        known = last.get(one.caller)
        if known is not None and known[0] == one.number:
            known[1].append(id)
        else:
            last[one.caller] = one.number, [id]
    for caller, (number, ids) in last.items():
        reply = tuple((Receipt(id, True),) for id in ids)
        session.run("replies_write", (state.id, "put", caller, number, state.now, encode("put", reply)))
