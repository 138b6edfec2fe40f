"""Moves of jobs from state to state, gathered during a call and written at its end with few statements."""

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from fifoq.state import State
from fifoq_sqlite.book import CODE, Book, Gate, score
from fifoq_sqlite.session import Session


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

    def __init__(self, session: Session, book: Book, now: int) -> None:
        self._session = session
        self._book = book
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
        self._session.ended.append((self._book.name, place.id))
        if kept:
            self._ended.append(
                (CODE[end.state], self._now, end.result, end.error, end.reason, kept, place.job),
            )
        else:
            self._removed.append(place.job)

    def halt(self, place: Place, error: bytes, retain: int) -> None:
        """A running keyed job failed and keeps its place."""
        self._leave(place, State.RUNNING, State.FAILED)
        self._session.ended.append((self._book.name, place.id))
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
            self._book.wake_by(due_at)
        self._back.append((due_at, since, self._rank(place, ready), error, int(refund), 0, place.job))

    def crash(self, place: Place, ranked: int) -> None:
        """The lease of a running job ended: it is back at its place, claimable at once."""
        self._leave(place, State.RUNNING, State.WAITING)
        self._back.append((None, None, self._rank(place, ranked), None, 0, 1, place.job))

    def due(self, place: Place, before: State, priority: int, seq: int, next_timer: int | None) -> None:
        """The delay or back-off of a job is over."""
        if before is State.SCHEDULED:
            self._book.move(place.gate, before, State.WAITING)
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
            offer_heads(self._session, self._book, self._keys)

    def _leave(self, place: Place, before: State, after: State | None) -> None:
        self._book.move(place.gate, before, after)
        if before is State.RUNNING:
            self._free(place)
        else:
            self._book.touch(place.gate, place.value)
        if place.key is not None and before is not State.SCHEDULED:
            self._keys[place.key] = None

    def _free(self, place: Place) -> None:
        """A slot of each gate of the path is free."""
        if place.value is not None:
            self._book.touch(place.gate, place.value, -1)
        if place.value is not None or self._book.own.settings.limit or place.gate.settings.limit:
            self._session.woken.add(self._book.name)

    def _rank(self, place: Place, ready: int | None) -> int | None:
        """Offer a job without a key at once; for one with a key its line decides."""
        if place.key is not None:
            self._keys[place.key] = None
            return None
        if ready is not None:
            self._book.offer(place.gate, place.value, ready)
            self._session.woken.add(self._book.name)
        return ready


def offer_heads(session: Session, book: Book, keys: Collection[str]) -> None:
    """Offer the heads of these keys, where they may be and are not yet."""
    heads = session.run("lines_heads", (book.id, json.dumps(list(keys)))).fetchall()
    if not heads:
        return
    session.change("jobs_offer", (json.dumps([job for job, *_ in heads]),))
    for _, gate, value, ranked in heads:
        book.offer(book.by_id[gate], value, ranked)
    session.woken.add(book.name)
