"""What operators do: cancel, requeue, skip, configure, purge."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fifoq.errors import InvalidArguments
from fifoq.limits import GateSettings
from fifoq.queue import (
    KEEP_REPLY,
    MAX_PAGE,
    BlockedKey,
    BlockedKeys,
    Changed,
    Declare,
    Gate,
    Override,
    Pause,
    Resume,
    Setting,
    Stats,
)
from fifoq.record import Filter, JobSpec, Record, Records, State
from fifoq_sqlite import queue_state
from fifoq_sqlite.queue_state import CODE, LAST_ENTRY, STATES, QueueState, score
from fifoq_sqlite.session import Session
from fifoq_sqlite.transitions import End, Moves, Place, offer_heads

Row = tuple[Any, ...]
_SHOWN = (*STATES, State.WAITING)
"""What a stored state is shown as; the last is that of a job that is not filed."""


def get(session: Session, state: QueueState, ids: Sequence[str]) -> tuple[Record | None, ...]:
    """The only look that sees jobs that are not filed: whoever put one may ask for it at once."""
    rows = session.run("jobs_get", (state.id, json.dumps(list(ids)))).fetchall()
    unindexed = [state.unindexed[id].job for id in ids if id in state.unindexed]
    if unindexed:
        rows += session.run("unindexed_get", (json.dumps(unindexed),)).fetchall()
    found = {row[1]: _record(state, row) for row in rows}
    return tuple(found.get(id) for id in ids)


def find(session: Session, state: QueueState, filter: Filter, cursor: int, limit: int) -> Records:
    """Look at the next `MAX_PAGE` jobs, or `limit` if all match, and show those that match."""
    first, last = state.number(cursor), state.number(LAST_ENTRY)
    limit = min(limit, MAX_PAGE)
    read, end = session.run("jobs_window", (first, last, MAX_PAGE if any(filter) else limit)).fetchone()
    if not read:
        return Records((), None)
    gate = filter.task and state.tasks.get(filter.task)
    if filter.task is not None and gate is None:
        rows: list[Row] = []
    else:
        code = None if filter.state is None else CODE[filter.state]
        wanted = (code, gate and gate.id, filter.key, filter.owner)
        rows = session.run("jobs_find", (first, end, *wanted, limit)).fetchall()
    page = tuple(_record(state, row) for row in rows)
    behind = rows[-1][0] if len(page) == limit else end
    more = session.run("jobs_window", (behind, last, 1)).fetchone()[0]
    return Records(page, _entry(behind) if more else None)


def stats(session: Session, state: QueueState) -> Stats:
    oldest = session.run("jobs_oldest", (state.id,)).fetchone()
    return Stats(
        **{of.value: count for of, count in state.counts.items()},
        purged=state.purged,
        accepted=sum(state.counts.values()) + state.purged,
        oldest_waiting=oldest and max(0, state.peek(session.clock.now()) - oldest[0]),
        gates=tuple(_gate(one) for one in _shown(state)),
    )


def no_stats() -> Stats:
    """Of a queue that was not made yet."""
    return Stats(0, 0, 0, 0, 0, 0, 0, 0, None, (_gate(queue_state.Gate(0, "")),))


def blocked_keys(session: Session, state: QueueState, cursor: str | None, limit: int) -> BlockedKeys:
    """
    Merge two lists by (since, key): jobs that are halted or wait for a time, and paused keys.

    A job that is not its key's head is passed over, so a page may be short. Of rows with one (since, key) only the
    first can be a head, so that the cursor may pass over the others.
    """
    since, key = (-1, "") if cursor is None else _read_cursor(cursor)
    size = min(limit, MAX_PAGE)
    rows = session.run("keys_blocked", (state.id, since, key, MAX_PAGE)).fetchall()
    keys: list[BlockedKey] = []
    for since, key, reason, job_id in rows:
        if reason is not None:
            keys.append(BlockedKey(key, job_id, reason, since))
            if len(keys) == size:
                break
    more = len(rows) == MAX_PAGE or (len(rows) > 0 and (since, key) != rows[-1][:2])
    return BlockedKeys(tuple(keys), json.dumps([since, key]) if more else None)


def _read_cursor(cursor: str) -> tuple[int, str]:
    try:
        match json.loads(cursor):
            case [int(since), str(key)] if 0 <= since < 1 << 63:
                return since, key
            case _:
                pass
    except (ValueError, RecursionError):
        pass
    raise InvalidArguments(
        f"A cursor is one that a page of blocked keys gave, not {cursor!r}. Leave it out to begin.", parameter="cursor"
    )


def _shown(state: QueueState) -> Iterator[queue_state.Gate]:
    yield state.own
    for _, gate in sorted(state.tasks.items()):
        if gate.live or gate.paused or gate.declared is not None or gate.override is not None:
            yield gate


def _gate(gate: queue_state.Gate) -> Gate:
    return Gate(gate.task or None, gate.settings, gate.override is not None, gate.paused, gate.live, gate.running)


def _entry(job: int) -> int:
    return job & LAST_ENTRY


def _record(state: QueueState, row: Row) -> Record:
    """A record from a row of `jobs_get` or `jobs_find`."""
    (job, id, gate, payload, key, value, priority, delay, in_line, expires, unique, retain, owner, meta,
     seq, code, attempt, crashes, created_at, due_at, started_at, finished_at, worker,
     result, error, progress, reason, cancel_requested, halted) = row  # fmt: skip
    spec = JobSpec(
        id, state.by_id[gate].task, payload, key, value, priority, delay, bool(in_line), expires, unique, retain,
        owner, meta,
    )  # fmt: skip
    return Record(
        spec, _entry(job), seq, _SHOWN[code], attempt, crashes, created_at, due_at, started_at, finished_at, worker,
        result, error, progress, reason, bool(cancel_requested), bool(halted),
    )  # fmt: skip


class Seen(NamedTuple):
    """What an operator's call has to know of a job."""

    place: Place
    state: State
    priority: int
    cancel_requested: int
    halted: int
    kept: int
    unique: str | None


def cancel(session: Session, state: QueueState, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
    return tuple(_cancel(session, state, id, reason) for id in ids)


def requeue(session: Session, state: QueueState, ids: Sequence[str]) -> tuple[Changed, ...]:
    session.tick(state)
    return tuple(_requeue(session, state, id) for id in ids)


def skip(session: Session, state: QueueState, ids: Sequence[str]) -> tuple[Changed, ...]:
    return tuple(_skip(session, state, id) for id in ids)


def configure(session: Session, state: QueueState, settings: Sequence[Setting]) -> None:
    session.tick(state)
    for setting in settings:
        _configure(session, state, setting)
    session.woken.add(state.name)


def purge(session: Session, state: QueueState, limit: int) -> int:
    """Remove ended jobs whose time is over, and old replies."""
    now = session.tick(state)
    session.changes |= session.run("replies_purge", (state.id, now - KEEP_REPLY)).rowcount > 0
    over = session.run("jobs_over", (state.id, now, limit)).fetchall()
    if over:
        session.change("jobs_remove", (json.dumps([job for job, _ in over]),))
    for _, code in over:
        state.counts[STATES[code]] -= 1
        state.purged += 1
    return len(over)


def _see(session: Session, state: QueueState, id: str) -> Seen | None:
    row = session.run("jobs_look", (state.id, id)).fetchone()
    if row is None:
        return None
    job, gate, key, value, retain, code, *rest = row
    return Seen(Place(job, id, state.by_id[gate], key, value, retain), STATES[code], *rest)


def _cancel(session: Session, state: QueueState, id: str, reason: str) -> Changed:
    seen = _see(session, state, id)
    if seen is None:
        return Changed(None, False)
    if seen.state.ended or seen.cancel_requested:
        return Changed(seen.state, False)
    if seen.state is State.RUNNING:
        session.change("jobs_ask_cancel", (reason, seen.place.job))
        return Changed(State.RUNNING, True)
    moves = Moves(session, state, session.tick(state))
    moves.end(seen.place, seen.state, End(State.CANCELLED, reason=reason))
    moves.write()
    return Changed(State.CANCELLED, True)


def _requeue(session: Session, state: QueueState, id: str) -> Changed:
    seen = _see(session, state, id)
    if seen is None or seen.state is not State.FAILED:
        return Changed(seen and seen.state, False)
    seq = None
    if not seen.halted:
        holder = seen.unique and session.run("jobs_holder", (state.id, seen.unique)).fetchone()
        if holder:
            return Changed(State.FAILED, False, holder[1])
        seq = state.next_number()
    place = seen.place
    session.change("jobs_requeue", (seq, place.job))
    state.move(place.gate, State.FAILED, State.WAITING)
    if place.key is not None:
        offer_heads(session, state, [place.key])
    elif seq is not None:
        session.change("jobs_offer", (json.dumps([place.job]),))
        state.offer(place.gate, place.value, score(seen.priority, seq))
        session.woken.add(state.name)
    return Changed(State.WAITING, True)


def _skip(session: Session, state: QueueState, id: str) -> Changed:
    seen = _see(session, state, id)
    if seen is None or not seen.halted:
        return Changed(seen and seen.state, False)
    now, place = session.tick(state), seen.place
    if seen.kept:
        session.change("jobs_skip", (now, place.job))
    else:
        session.change("jobs_remove", (json.dumps([place.job]),))
        state.move(place.gate, State.FAILED, None)
        session.ended.append((state.name, id))
    if place.key is not None:
        offer_heads(session, state, [place.key])
    return Changed(State.FAILED, True)


def _configure(session: Session, state: QueueState, setting: Setting) -> None:
    match setting:
        case Declare(task, settings):
            _set(session, state, session.make_gate(state, task), settings, override=False)
        case Override(task, settings):
            _set(session, state, session.make_gate(state, task), settings, override=True)
        case Pause(_, str(key)):
            session.change("keys_pause", (state.id, key, state.now))
            for gate, value in session.change("keys_withdraw", (state.id, key)).fetchall():
                state.touch(state.by_id[gate], value)
        case Resume(_, str(key)):
            session.change("keys_resume", (state.id, key))
            offer_heads(session, state, [key])
        case Pause(task, _) | Resume(task, _):
            gate = session.make_gate(state, task)
            paused = isinstance(setting, Pause)
            if gate.paused != paused:
                gate.paused = paused
                session.changes = True
                state.changed.add(gate)


def _set(
    session: Session, state: QueueState, gate: queue_state.Gate, settings: GateSettings | None, *, override: bool
) -> None:
    """Change a gate's settings; nothing is written if they are as they were, as at most openings."""
    before = gate.value_limit
    if not state.set(gate, settings, override=override):
        return
    if settings is None:
        session.change("settings_lift", (gate.id,))
    else:
        session.change("settings_write", (gate.id, override, *settings))
    if gate.value_limit != before:
        session.show(state)
        session.change("values_widen", (gate.id, gate.value_limit))
        state.touch(gate, None)
