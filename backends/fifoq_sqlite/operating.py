"""What operators do: cancel, requeue, skip, configure, purge."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from fifoq.limits import GateSettings
from fifoq.queue import KEEP_REPLY, Changed, Declare, Override, Pause, Resume, Setting
from fifoq.state import State
from fifoq_sqlite.book import STATES, Book, Gate, score
from fifoq_sqlite.moves import End, Moves, Place, offer_heads
from fifoq_sqlite.session import Session


class Seen(NamedTuple):
    """What an operator's call has to know of a job."""

    place: Place
    state: State
    priority: int
    cancel_requested: int
    halted: int
    kept: int
    unique: str | None


def cancel(session: Session, book: Book, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
    return tuple(_cancel(session, book, id, reason) for id in ids)


def requeue(session: Session, book: Book, ids: Sequence[str]) -> tuple[Changed, ...]:
    session.tick(book)
    return tuple(_requeue(session, book, id) for id in ids)


def skip(session: Session, book: Book, ids: Sequence[str]) -> tuple[Changed, ...]:
    return tuple(_skip(session, book, id) for id in ids)


def configure(session: Session, book: Book, settings: Sequence[Setting]) -> None:
    session.tick(book)
    for setting in settings:
        _configure(session, book, setting)
    session.woken.add(book.name)


def purge(session: Session, book: Book, limit: int) -> int:
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


def _see(session: Session, book: Book, id: str) -> Seen | None:
    row = session.run("jobs_look", (book.id, id)).fetchone()
    if row is None:
        return None
    job, gate, key, value, retain, state, *rest = row
    return Seen(Place(job, id, book.by_id[gate], key, value, retain), STATES[state], *rest)


def _cancel(session: Session, book: Book, id: str, reason: str) -> Changed:
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


def _requeue(session: Session, book: Book, id: str) -> Changed:
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


def _skip(session: Session, book: Book, id: str) -> Changed:
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


def _configure(session: Session, book: Book, setting: Setting) -> None:
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


def _set(session: Session, book: Book, gate: Gate, settings: GateSettings | None, *, override: bool) -> None:
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
