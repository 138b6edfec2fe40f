"""Moves of jobs from state to state, gathered during a call and written at its end with few statements."""

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from fifoq.queue import MAX_TIMERS, Receipt
from fifoq.record import State
from fifoq_sqlite.queue_state import CODE, STATES, UNBOUNDED, Gate, QueueState, Unindexed, score
from fifoq_sqlite.replies import encode
from fifoq_sqlite.session import Session


def indexed(session: Session, name: str) -> QueueState | None:
    """The state of a queue, if there is such a queue, with every job filed: what every call but a put of one needs."""
    session.only_unindexed = False
    state = session.queue_state(name)
    if state is not None:
        state.only_unindexed = False
        if state.unindexed:
            index(session, state)
    return state


def indexed_or_made(session: Session, name: str) -> QueueState:
    """The same, of a queue that is made if there is none."""
    return indexed(session, name) or session.make_queue(name)


def index(session: Session, state: QueueState) -> None:
    """File what is not."""
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
        state.enter(one.gate, one.value, score(one.priority, state.entry(one.job)) if offered else None)
    session.change("unindexed_index", (state.id, jobs[0].job, jobs[-1].job, json.dumps(heads)))
    _remember(session, state, unindexed)
    session.woken.add(state.name)


def free_keys(session: Session, state: QueueState, keys: set[str]) -> set[str]:
    """Those of `keys` that have nobody in line and are not paused: the next job is offered as it comes."""
    if not keys:
        return set()
    (found,) = session.run("lines_free", (state.id, json.dumps(list(keys)))).fetchone()
    return set(json.loads(found))


def _remember(session: Session, state: QueueState, jobs: dict[str, Unindexed]) -> None:
    """Store the reply of each caller's last put: until now the jobs themselves told it."""
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


class Place(NamedTuple):
    """A job, and where it stands."""

    job: int
    id: str
    gate: Gate
    key: str | None
    value: str | None
    retain: int


class End(NamedTuple):
    """How a job ends. `retain` as asked by a settlement; `error` None leaves what is there."""

    state: State
    retain: int = 0
    result: bytes | None = None
    error: bytes | None = None
    reason: str | None = None


class Moves:
    """
    The moves of one call. The counts are right at once, the jobs after `write`.

    A line is looked at after all moves: then whoever is its head by now is offered.
    """

    def __init__(self, session: Session, state: QueueState, now: int) -> None:
        self._session = session
        self._state = state
        self._now = now
        self._removed: list[int] = []
        self._ended: list[tuple[Any, ...]] = []
        self._back: list[tuple[Any, ...]] = []
        self._due: list[tuple[Any, ...]] = []
        self._keys: dict[str, None] = {}

    def end(self, place: Place, before: State, end: End) -> None:
        """End a job, and remove it if nobody wants it kept."""
        kept = max(place.retain, end.retain)
        self._leave(place, before, end.state if kept else None)
        self._session.ended.append((self._state.name, place.id))
        if kept:
            self._ended.append(
                (CODE[end.state], self._now, end.result, end.error, end.reason, kept, place.job),
            )
        else:
            self._removed.append(place.job)

    def halt(self, place: Place, error: bytes, retain: int) -> None:
        """A running keyed job failed and keeps its place."""
        self._leave(place, State.RUNNING, State.FAILED)
        self._session.ended.append((self._state.name, place.id))
        self._session.change("jobs_halt", (self._now, error, max(place.retain, retain), place.job))

    def back(
        self, place: Place, ranked: int, after: int = 0, error: bytes | None = None, *, refund: bool = False
    ) -> None:
        """Put a running job back to its place (`ranked` is its score), claimable `after` microseconds from now."""
        self._leave(place, State.RUNNING, State.WAITING)
        due_at = self._now + after if after > 0 else None
        since = self._now if due_at is not None and place.key is not None else None
        ready = ranked if due_at is None else None
        if due_at is not None:
            self._state.wake_by(due_at)
        self._back.append((due_at, since, self._rank(place, ready), error, int(refund), 0, place.job))

    def crash(self, place: Place, ranked: int) -> None:
        """The lease of a running job ended: it is back at its place, claimable at once."""
        self._leave(place, State.RUNNING, State.WAITING)
        self._back.append((None, None, self._rank(place, ranked), None, 0, 1, place.job))

    def due(self, place: Place, before: State, priority: int, seq: int, next_timer: int | None) -> None:
        """The delay or back-off of a job is over."""
        if before is State.SCHEDULED:
            self._state.move(place.gate, before, State.WAITING)
        line = None if place.key is None else seq
        self._due.append((seq, line, self._rank(place, score(priority, seq)), next_timer, place.job))

    def write(self) -> None:
        """Write the jobs, then offer the heads of the lines that moved."""
        change_many = self._session.change_many
        if self._removed:
            self._session.change("jobs_remove", (json.dumps(self._removed),))
        for name, rows in (("jobs_end", self._ended), ("jobs_back", self._back), ("timer_due", self._due)):
            if rows:
                change_many(name, rows)
        if self._keys:
            offer_heads(self._session, self._state, self._keys)

    def _leave(self, place: Place, before: State, after: State | None) -> None:
        self._state.move(place.gate, before, after)
        if before is State.RUNNING:
            self._free(place)
        else:
            self._state.touch(place.gate, place.value)
        if place.key is not None and before is not State.SCHEDULED:
            self._keys[place.key] = None

    def _free(self, place: Place) -> None:
        """A slot of each gate of the path is free."""
        if place.value is not None:
            self._state.touch(place.gate, place.value, -1)
        if place.value is not None or self._state.own.settings.limit or place.gate.settings.limit:
            self._session.woken.add(self._state.name)

    def _rank(self, place: Place, ready: int | None) -> int | None:
        """Offer a job without a key at once; for one with a key its line decides."""
        if place.key is not None:
            self._keys[place.key] = None
            return None
        if ready is not None:
            self._state.offer(place.gate, place.value, ready)
            self._session.woken.add(self._state.name)
        return ready


def offer_heads(session: Session, state: QueueState, keys: Collection[str]) -> None:
    """Offer the heads of these keys, where they may be and are not yet."""
    heads = session.run("lines_heads", (state.id, json.dumps(list(keys)))).fetchall()
    if not heads:
        return
    session.change("jobs_offer", (json.dumps([job for job, *_ in heads]),))
    for _, gate, value, ranked in heads:
        state.offer(state.by_id[gate], value, ranked)
    session.woken.add(state.name)


def fire(session: Session, state: QueueState, now: int) -> None:
    """Fire the timers that are due, by (time, entry), at most `MAX_TIMERS`."""
    if nothing_due(session, state, now):
        return
    due = session.run("timers_due", (state.id, now, MAX_TIMERS)).fetchall()
    moves = Moves(session, state, now)
    for job, id, gate, key, value, retain, *rest in due:
        _fire(session, state, now, moves, Place(job, id, state.by_id[gate], key, value, retain), rest)
    moves.write()
    state.alarm = 0
    session.woken.add(state.name)


def nothing_due(session: Session, state: QueueState, now: int) -> bool:
    """Whether no timer is due: nearly always known from the calls before, without a look."""
    return now < state.alarm or now < _next(session, state)


def next_timer(session: Session, state: QueueState, now: int) -> int | None:
    """Microseconds until the next timer, or the next token of a rate that has none."""
    waits = [gate.token_in(now) for gate in (state.own, *state.tasks.values())]
    first = _next(session, state)
    if first < UNBOUNDED:
        return min([max(0, first - now), *(wait for wait in waits if wait)])
    return min((wait for wait in waits if wait), default=None)


def _next(session: Session, state: QueueState) -> int:
    """When the earliest timer is set for."""
    row = session.run("timers_next", (state.id,)).fetchone()
    state.alarm = row[0] if row else UNBOUNDED
    return state.alarm


def _fire(session: Session, state: QueueState, now: int, moves: Moves, place: Place, rest: list[Any]) -> None:
    code, priority, seq, expires_at, cancel_requested, reason = rest
    before = STATES[code]
    if before is State.RUNNING:
        if cancel_requested:
            session.change("jobs_count", (0, 1, place.job))
            moves.end(place, before, End(State.CANCELLED, reason=reason))
        else:
            moves.crash(place, score(priority, seq))
    elif expires_at is not None and expires_at <= now:
        moves.end(place, before, End(State.CANCELLED, reason="expired"))
    else:
        moves.due(place, before, priority, seq or state.next_number(), expires_at)
