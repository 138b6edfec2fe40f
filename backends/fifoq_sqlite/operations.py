"""What operators do: cancel, requeue, skip, configure, purge."""

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
from fifoq.record import Filter, JobSpec, Record, Records, State
from fifoq_sqlite import queue_state as books
from fifoq_sqlite.queue_state import CODE, LAST_ENTRY, STATES, QueueState, score
from fifoq_sqlite.session import Session
from fifoq_sqlite.transitions import End, Moves, Place, offer_heads

Row = tuple[Any, ...]
_SHOWN = (*STATES, State.WAITING)
"""What a stored state is shown as; the last is that of a job that is not filed."""


def get(session: Session, book: QueueState, ids: Sequence[str]) -> tuple[Record | None, ...]:
    """The only look that sees jobs that are not filed: whoever put one may ask for it at once."""
    rows = session.run("jobs_get", (book.id, json.dumps(list(ids)))).fetchall()
    unfiled = [book.unfiled[id].job for id in ids if id in book.unfiled]
    if unfiled:
        rows += session.run("unfiled_get", (json.dumps(unfiled),)).fetchall()
    found = {row[1]: _record(book, row) for row in rows}
    return tuple(found.get(id) for id in ids)


def find(session: Session, book: QueueState, filter: Filter, cursor: int, limit: int) -> Records:
    """Look at the next `MAX_PAGE` jobs, or `limit` if all match, and show those that match."""
    first, last = book.number(cursor), book.number(LAST_ENTRY)
    limit = min(limit, MAX_PAGE)
    read, end = session.run("jobs_window", (first, last, MAX_PAGE if any(filter) else limit)).fetchone()
    if not read:
        return Records((), None)
    gate = filter.task and book.tasks.get(filter.task)
    if filter.task is not None and gate is None:
        rows: list[Row] = []
    else:
        state = None if filter.state is None else CODE[filter.state]
        wanted = (state, gate and gate.id, filter.key, filter.owner)
        rows = session.run("jobs_find", (first, end, *wanted, limit)).fetchall()
    page = tuple(_record(book, row) for row in rows)
    behind = rows[-1][0] if len(page) == limit else end
    more = session.run("jobs_window", (behind, last, 1)).fetchone()[0]
    return Records(page, _entry(behind) if more else None)


def stats(session: Session, book: QueueState) -> Stats:
    oldest = session.run("jobs_oldest", (book.id,)).fetchone()
    return Stats(
        **{state.value: count for state, count in book.counts.items()},
        purged=book.purged,
        accepted=sum(book.counts.values()) + book.purged,
        oldest_waiting=oldest and max(0, book.peek(session.clock.now()) - oldest[0]),
        gates=tuple(_gate(one) for one in _shown(book)),
    )


def no_stats() -> Stats:
    """Of a queue that was not made yet."""
    return Stats(0, 0, 0, 0, 0, 0, 0, 0, None, (_gate(books.Gate(0, "")),))


def blocked_keys(session: Session, book: QueueState, cursor: str | None, limit: int) -> BlockedKeys:
    """
    Merge two lists by (since, key): jobs that are halted or wait for a time, and paused keys.

    A job that is not its key's head is passed over, so a page may be short. Of rows with one (since, key) only the
    first can be a head, so that the cursor may pass over the others.
    """
    since, key = (-1, "") if cursor is None else _read_cursor(cursor)
    size = min(limit, MAX_PAGE)
    rows = session.run("keys_blocked", (book.id, since, key, MAX_PAGE)).fetchall()
    keys: list[BlockedKeyRecord] = []
    for since, key, reason, job_id in rows:
        if reason is not None:
            keys.append(BlockedKeyRecord(key, job_id, reason, since))
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


def _shown(book: QueueState) -> Iterator[books.Gate]:
    yield book.own
    for _, gate in sorted(book.tasks.items()):
        if gate.live or gate.paused or gate.declared is not None or gate.override is not None:
            yield gate


def _gate(gate: books.Gate) -> Gate:
    return Gate(gate.task or None, gate.settings, gate.override is not None, gate.paused, gate.live, gate.running)


def _entry(job: int) -> int:
    return job & LAST_ENTRY


def _record(book: QueueState, row: Row) -> Record:
    """A record from a row of `jobs_get` or `jobs_find`."""
    (job, id, gate, payload, key, value, priority, delay, in_line, expires, unique, retain, owner, meta,
     seq, state, attempt, crashes, created_at, due_at, started_at, finished_at, worker,
     result, error, progress, reason, cancel_requested, halted) = row  # fmt: skip
    spec = JobSpec(
        id, book.by_id[gate].task, payload, key, value, priority, delay, bool(in_line), expires, unique, retain,
        owner, meta,
    )  # fmt: skip
    return Record(
        spec, _entry(job), seq, _SHOWN[state], attempt, crashes, created_at, due_at, started_at, finished_at, worker,
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


def cancel(session: Session, book: QueueState, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
    return tuple(_cancel(session, book, id, reason) for id in ids)


def requeue(session: Session, book: QueueState, ids: Sequence[str]) -> tuple[Changed, ...]:
    session.tick(book)
    return tuple(_requeue(session, book, id) for id in ids)


def skip(session: Session, book: QueueState, ids: Sequence[str]) -> tuple[Changed, ...]:
    return tuple(_skip(session, book, id) for id in ids)


def configure(session: Session, book: QueueState, settings: Sequence[Setting]) -> None:
    session.tick(book)
    for setting in settings:
        _configure(session, book, setting)
    session.woken.add(book.name)


def purge(session: Session, book: QueueState, limit: int) -> int:
    """Remove ended jobs whose time is over, and old replies."""
    now = session.tick(book)
    session.changes |= session.run("replies_purge", (book.id, now - KEEP_REPLY)).rowcount > 0
    over = session.run("jobs_over", (book.id, now, limit)).fetchall()
    if over:
        session.change("jobs_remove", (json.dumps([job for job, _ in over]),))
    for _, state in over:
        book.counts[STATES[state]] -= 1
        book.purged += 1
    return len(over)


def _see(session: Session, book: QueueState, id: str) -> Seen | None:
    row = session.run("jobs_look", (book.id, id)).fetchone()
    if row is None:
        return None
    job, gate, key, value, retain, state, *rest = row
    return Seen(Place(job, id, book.by_id[gate], key, value, retain), STATES[state], *rest)


def _cancel(session: Session, book: QueueState, id: str, reason: str) -> Changed:
    seen = _see(session, book, id)
    if seen is None:
        return Changed(None, False)
    if seen.state.ended or seen.cancel_requested:
        return Changed(seen.state, False)
    if seen.state is State.RUNNING:
        session.change("jobs_ask_cancel", (reason, seen.place.job))
        return Changed(State.RUNNING, True)
    moves = Moves(session, book, session.tick(book))
    moves.end(seen.place, seen.state, End(State.CANCELLED, reason=reason))
    moves.write()
    return Changed(State.CANCELLED, True)


def _requeue(session: Session, book: QueueState, id: str) -> Changed:
    seen = _see(session, book, id)
    if seen is None or seen.state is not State.FAILED:
        return Changed(seen and seen.state, False)
    seq = None
    if not seen.halted:
        holder = seen.unique and session.run("jobs_holder", (book.id, seen.unique)).fetchone()
        if holder:
            return Changed(State.FAILED, False, holder[1])
        seq = book.next_number()
    place = seen.place
    session.change("jobs_requeue", (seq, place.job))
    book.move(place.gate, State.FAILED, State.WAITING)
    if place.key is not None:
        offer_heads(session, book, [place.key])
    elif seq is not None:
        session.change("jobs_offer", (json.dumps([place.job]),))
        book.offer(place.gate, place.value, score(seen.priority, seq))
        session.woken.add(book.name)
    return Changed(State.WAITING, True)


def _skip(session: Session, book: QueueState, id: str) -> Changed:
    seen = _see(session, book, id)
    if seen is None or not seen.halted:
        return Changed(seen and seen.state, False)
    now, place = session.tick(book), seen.place
    if seen.kept:
        session.change("jobs_skip", (now, place.job))
    else:
        session.change("jobs_remove", (json.dumps([place.job]),))
        book.move(place.gate, State.FAILED, None)
        session.ended.append((book.name, id))
    if place.key is not None:
        offer_heads(session, book, [place.key])
    return Changed(State.FAILED, True)


def _configure(session: Session, book: QueueState, setting: Setting) -> None:
    match setting:
        case Declare(task, settings):
            _set(session, book, session.make_gate(book, task), settings, override=False)
        case Override(task, settings):
            _set(session, book, session.make_gate(book, task), settings, override=True)
        case Pause(_, str(key)):
            session.change("keys_pause", (book.id, key, book.now))
            for gate, value in session.change("keys_withdraw", (book.id, key)).fetchall():
                book.touch(book.by_id[gate], value)
        case Resume(_, str(key)):
            session.change("keys_resume", (book.id, key))
            offer_heads(session, book, [key])
        case Pause(task, _) | Resume(task, _):
            gate = session.make_gate(book, task)
            paused = isinstance(setting, Pause)
            if gate.paused != paused:
                gate.paused = paused
                session.changes = True
                book.changed.add(gate)


def _set(
    session: Session, book: QueueState, gate: books.Gate, settings: GateSettings | None, *, override: bool
) -> None:
    """Change a gate's settings; nothing is written if they are as they were, as at most openings."""
    before = gate.value_limit
    if not book.set(gate, settings, override=override):
        return
    if settings is None:
        session.change("settings_lift", (gate.id,))
    else:
        session.change("settings_write", (gate.id, override, *settings))
    if gate.value_limit != before:
        session.show(book)
        session.change("values_widen", (gate.id, gate.value_limit))
        book.touch(gate, None)
