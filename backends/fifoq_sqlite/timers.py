"""What time alone does to jobs."""

from typing import Any

from fifoq.queue import MAX_TIMERS
from fifoq.state import State
from fifoq_sqlite.book import STATES, UNBOUNDED, Book, score
from fifoq_sqlite.moves import End, Moves, Place
from fifoq_sqlite.session import Session


def fire(session: Session, book: Book, now: int) -> None:
    """Fire the timers that are due, by (time, entry), at most `MAX_TIMERS`."""
    if nothing_due(session, book, now):
        return
    due = session.run("timers_due", (book.id, now, MAX_TIMERS)).fetchall()
    moves = Moves(session, book, now)
    for job, id, gate, key, value, retain, *rest in due:
        _fire(session, book, now, moves, Place(job, id, book.by_id[gate], key, value, retain), rest)
    moves.write()
    book.alarm = 0
    session.woken.add(book.name)


def nothing_due(session: Session, book: Book, now: int) -> bool:
    """Whether no timer is due: nearly always known from the calls before, without a look."""
    return now < book.alarm or now < _next(session, book)


def next_timer(session: Session, book: Book, now: int) -> int | None:
    """Microseconds until the next timer, or the next token of a rate that has none."""
    waits = [gate.token_in(now) for gate in (book.own, *book.tasks.values())]
    first = _next(session, book)
    if first < UNBOUNDED:
        return min([max(0, first - now), *(wait for wait in waits if wait)])
    return min((wait for wait in waits if wait), default=None)


def _next(session: Session, book: Book) -> int:
    """When the earliest timer is set for."""
    row = session.run("timers_next", (book.id,)).fetchone()
    book.alarm = row[0] if row else UNBOUNDED
    return book.alarm


def _fire(session: Session, book: Book, now: int, moves: Moves, place: Place, rest: list[Any]) -> None:
    code, priority, seq, expires_at, cancel_requested, reason = rest
    state = State(STATES[code])
    if state is State.RUNNING:
        if cancel_requested:
            session.change("jobs_count", (0, 1, place.job))
            moves.end(place, state, End(State.CANCELLED, reason=reason))
        else:
            moves.crash(place, score(priority, seq))
    elif expires_at is not None and expires_at <= now:
        moves.end(place, state, End(State.CANCELLED, reason="expired"))
    else:
        moves.due(place, state, priority, seq or book.next_number(), expires_at)
