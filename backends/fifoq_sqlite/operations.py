"""Queries: get, find, stats, blocked keys; and the calls of operators: cancel, requeue, skip, configure, purge."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fifoq.errors import InvalidArguments
from fifoq.limits import GateSettings
from fifoq.queue import (
    KEEP_REPLY,
    MAX_PAGE,
    BlockedKeyRecord,
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
from fifoq.record import Damaged, Filter, JobSpec, Record, Records, State, checked
from fifoq_sqlite import queue_state
from fifoq_sqlite.damage import damage_of, id_of, is_score, is_text, is_text_or_nothing, search
from fifoq_sqlite.queue_state import CODE, LAST_ENTRY, STATES, QueueState, score_of
from fifoq_sqlite.session import Session
from fifoq_sqlite.transitions import End, JobRef, Transitions, mend_all, offer_heads

Row = tuple[Any, ...]
_STATES = (*STATES, State.WAITING)
"""The states by their codes; the last is the code of an unindexed job."""


# ---- queries ----


def get(session: Session, state: QueueState, ids: Sequence[str]) -> tuple[Record | Damaged | None, ...]:
    """Return records by id. No other query reads unindexed jobs: a producer often reads its job right after the put."""
    rows = session.rows("jobs_get", (state.id, json.dumps(list(ids))))
    unindexed = [state.unindexed[id].job for id in ids if id in state.unindexed]
    if unindexed:
        rows += session.rows("unindexed_get", (json.dumps(unindexed),))
    rows += [row for id in ids if (job := _replaced(state, id)) for row in session.rows("unindexed_get", (f"[{job}]",))]
    found = {id_of(row[0], row[1]): _record(state, row) for row in rows}
    return tuple(found.get(id) for id in ids)


def find(session: Session, state: QueueState, filter: Filter, cursor: int, limit: int) -> Records:
    """Read the next `MAX_PAGE` jobs, or `limit` jobs without a filter, and return those that match."""
    first, last = state.job(cursor), state.job(LAST_ENTRY)
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
        rows = session.rows("jobs_find", (first, end, *wanted, limit))
    page = tuple(_record(state, row) for row in rows)
    behind = rows[-1][0] if len(page) == limit else end
    more = session.run("jobs_window", (behind, last, 1)).fetchone()[0]
    return Records(page, _entry(behind) if more else None)


def stats(session: Session, state: QueueState) -> Stats:
    oldest = session.run("jobs_oldest", (state.id,)).fetchone()
    return Stats(
        **{job_state.value: count for job_state, count in state.counts.items()},
        purged=state.purged,
        accepted=sum(state.counts.values()) + state.purged,
        oldest_waiting=oldest and (max(0, state.peek(session.clock.now()) - oldest[0]) if is_score(oldest[0]) else 0),
        gates=tuple(_gate(gate) for gate in _shown_gates(state)),
    )


def no_stats() -> Stats:
    """Return the stats of a queue that was not made yet."""
    return Stats(0, 0, 0, 0, 0, 0, 0, 0, None, (_gate(queue_state.Gate(0, "")),))


def blocked_keys(session: Session, state: QueueState, cursor: str | None, limit: int, owner: str | None) -> BlockedKeys:
    """
    Return a page of blocked keys: a merge, by (since, key), of jobs that are halted or back off and of paused keys.

    A job that is not its key's head is skipped, so a page may be short. Of rows with the same (since, key) only the
    first can be a head, so the cursor may skip the others.
    """
    since, key = (-1, "") if cursor is None else _read_cursor(cursor)
    size = min(limit, MAX_PAGE)
    rows = session.rows("keys_blocked", (state.id, since, key, MAX_PAGE, owner))
    more = len(rows) == MAX_PAGE
    # Damaged rows come last: numbers sort before all other values.
    rows = [row for row in rows if is_score(row[0]) and is_text(row[1]) and is_text_or_nothing(row[3])]
    keys: list[BlockedKeyRecord] = []
    for since, key, reason, job_id in rows:
        if reason is not None:
            keys.append(BlockedKeyRecord(key, job_id, reason, since))
            if len(keys) == size:
                break
    more = (more and len(rows) > 0) or (len(rows) > 0 and (since, key) != rows[-1][:2])
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


def _shown_gates(state: QueueState) -> Iterator[queue_state.Gate]:
    """Yield the gates that stats show: the queue's own and those of tasks with jobs, a pause or settings."""
    yield state.own_gate
    for _, gate in sorted(state.tasks.items()):
        if gate.live or gate.paused or gate.declared is not None or gate.override is not None:
            yield gate


def _gate(gate: queue_state.Gate) -> Gate:
    return Gate(gate.task or None, gate.settings, gate.override is not None, gate.paused, gate.live, gate.running)


def _entry(job: int) -> int:
    return job & LAST_ENTRY


def _record(state: QueueState, row: Row) -> Record | Damaged:
    """Make a record from a row of `jobs_get`, `jobs_find` or `unindexed_get`."""
    (job, id, gate, payload, key, value, priority, delay, in_line, expires, unique, retain, owner, meta,
     seq, code, attempt, crashes, created_at, due_at, started_at, finished_at, worker,
     result, error, progress, reason, cancel_requested, halted) = row  # fmt: skip
    if gate not in state.by_id or type(code) is not int or not 0 <= code < len(_STATES):
        return damage_of(state, job, id, delay, "its task or its state is unknown")
    flags = (in_line, cancel_requested, halted)
    if any(flag not in (0, 1) for flag in flags):
        return damage_of(state, job, id, delay, "a flag of it is neither true nor false")
    spec = JobSpec(
        id, state.by_id[gate].task, payload, key, value, priority, delay, bool(in_line), expires, unique, retain,
        owner, meta,
    )  # fmt: skip
    record = checked(Record(
        spec, _entry(job), seq, _STATES[code], attempt, crashes, created_at, due_at, started_at, finished_at, worker,
        result, error, progress, reason, bool(cancel_requested), bool(halted),
    ))  # fmt: skip
    return record if isinstance(record, Record) else damage_of(state, job, id, delay, record.reason)


def _replaced(state: QueueState, id: str) -> int | None:
    """Return the number of the job that may be meant by an id in place of one that is no text."""
    name, _, entry = id.partition("-")
    return state.job(int(entry)) if name == "damaged" and entry.isdecimal() and len(entry) < 13 else None


# ---- calls of operators ----


class FoundJob(NamedTuple):
    """A job with the columns that a call of an operator depends on."""

    ref: JobRef
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
    """
    Remove the ended jobs that are kept no longer, and old replies. Mend damaged rows, a page of rows at each call: no
    other call would find a row that is in no index any more.
    """
    now = session.tick(state)
    mend_all(session, state, search(session, state))
    session.changes |= session.run("replies_purge", (state.id, now - KEEP_REPLY)).rowcount > 0
    purgeable = session.run("jobs_purgeable", (state.id, now, limit)).fetchall()
    if purgeable:
        session.change("jobs_remove", (json.dumps([job for job, _ in purgeable]),))
    for _, code in purgeable:
        ended = STATES[code] if type(code) is int and 0 <= code < len(STATES) else State.SUCCEEDED
        state.counts[ended] -= 1
        state.purged += 1
    return len(purgeable)


def _find_job(session: Session, state: QueueState, id: str) -> FoundJob | None:
    """Return a job; one that is damaged is mended for that."""
    (found,) = get(session, state, [id])
    if found is None:
        return None
    if isinstance(found, Damaged):
        mend_all(session, state, [state.job(found.entry)])
    row = session.run("jobs_inspect", (state.id, found.id if isinstance(found, Damaged) else id)).fetchone()
    job, gate, key, value, retain, code, *rest = row
    return FoundJob(JobRef(job, id, state.by_id[gate], key, value, retain), STATES[code], *rest)


def _cancel(session: Session, state: QueueState, id: str, reason: str) -> Changed:
    found = _find_job(session, state, id)
    if found is None:
        return Changed(None, False)
    if isinstance(get(session, state, [id])[0], Damaged):
        return _remove(session, state, found)
    if found.state.ended or found.cancel_requested:
        return Changed(found.state, False)
    if found.state is State.RUNNING:
        session.change("jobs_request_cancel", (reason, found.ref.job))
        return Changed(State.RUNNING, True)
    transitions = Transitions(session, state, session.tick(state))
    transitions.end(found.ref, found.state, End(State.CANCELLED, reason=reason))
    transitions.write()
    return Changed(State.CANCELLED, True)


def _remove(session: Session, state: QueueState, found: FoundJob) -> Changed:
    """Remove a damaged job, whatever its state."""
    ref = found.ref._replace(retain=0)
    now = session.tick(state)
    if found.state.ended:
        session.change("jobs_remove", (json.dumps([ref.job]),))
        state.move(ref.gate, found.state, None)
        session.ended.append((state.name, ref.id))
    else:
        transitions = Transitions(session, state, now)
        transitions.end(ref, found.state, End(State.CANCELLED))
        transitions.write()
    if ref.key is not None:
        offer_heads(session, state, [ref.key])
    return Changed(State.CANCELLED, True)


def _requeue(session: Session, state: QueueState, id: str) -> Changed:
    found = _find_job(session, state, id)
    if found is None or found.state is not State.FAILED:
        return Changed(found and found.state, False)
    seq = None
    if not found.halted:
        holder = found.unique and session.run("jobs_by_unique", (state.id, found.unique)).fetchone()
        if holder:
            return Changed(State.FAILED, False, holder[1])
        seq = state.next_number()
    ref = found.ref
    session.change("jobs_requeue", (seq, ref.job))
    state.move(ref.gate, State.FAILED, State.WAITING)
    if ref.key is not None:
        offer_heads(session, state, [ref.key])
    elif seq is not None:
        session.change("jobs_offer", (json.dumps([ref.job]),))
        state.offer(ref.gate, ref.value, score_of(found.priority, seq))
        session.woken.add(state.name)
    return Changed(State.WAITING, True)


def _skip(session: Session, state: QueueState, id: str) -> Changed:
    found = _find_job(session, state, id)
    if found is None or not found.halted:
        return Changed(found and found.state, False)
    now, ref = session.tick(state), found.ref
    if found.kept:
        session.change("jobs_skip", (now, ref.job))
    else:
        session.change("jobs_remove", (json.dumps([ref.job]),))
        state.move(ref.gate, State.FAILED, None)
        session.ended.append((state.name, id))
    if ref.key is not None:
        offer_heads(session, state, [ref.key])
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
    session.drop_blank(state, setting.task)


def _set(
    session: Session, state: QueueState, gate: queue_state.Gate, settings: GateSettings | None, *, override: bool
) -> None:
    """Change a gate's settings. Nothing is written if they are unchanged, as at most openings."""
    before = gate.value_limit
    if not state.set(gate, settings, override=override):
        return
    if settings is None:
        session.change("settings_lift", (gate.id,))
    else:
        session.change("settings_write", (gate.id, override, *settings))
    if gate.value_limit != before:
        session.update_heads(state)
        session.change("values_widen", (gate.id, gate.value_limit))
        state.touch(gate, None)
