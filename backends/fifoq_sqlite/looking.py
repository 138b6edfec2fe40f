"""What is seen of a queue: records, pages, counts, blocked keys. Each look is at one instant, and changes nothing."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from fifoq.errors import InvalidArguments
from fifoq.queue import MAX_PAGE, BlockedKey, BlockedKeys, Gate, Stats
from fifoq.record import Filter, JobSpec, Record, Records
from fifoq.state import State
from fifoq_sqlite import book as books
from fifoq_sqlite.book import CODE, LAST_ENTRY, STATES, Book
from fifoq_sqlite.session import Session

Row = tuple[Any, ...]
_SHOWN = (*STATES, State.WAITING)
"""What a stored state is shown as; the last is that of a job that is not filed."""


def get(session: Session, book: Book, ids: Sequence[str]) -> tuple[Record | None, ...]:
    """The only look that sees jobs that are not filed: whoever put one may ask for it at once."""
    rows = session.run("jobs_get", (book.id, json.dumps(list(ids)))).fetchall()
    unfiled = [book.unfiled[id].job for id in ids if id in book.unfiled]
    if unfiled:
        rows += session.run("unfiled_get", (json.dumps(unfiled),)).fetchall()
    found = {row[1]: _record(book, row) for row in rows}
    return tuple(found.get(id) for id in ids)


def find(session: Session, book: Book, filter: Filter, cursor: int, limit: int) -> Records:
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


def stats(session: Session, book: Book) -> Stats:
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


def blocked_keys(session: Session, book: Book, cursor: str | None, limit: int) -> BlockedKeys:
    """
    Merge two lists by (since, key): jobs that are halted or wait for a time, and paused keys.

    A job that is not its key's head is passed over, so a page may be short. Of rows with one (since, key) only the
    first can be a head, so that the cursor may pass over the others.
    """
    since, key = (-1, "") if cursor is None else _read_cursor(cursor)
    size = min(limit, MAX_PAGE)
    rows = session.run("keys_blocked", (book.id, since, key, MAX_PAGE)).fetchall()
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


def _shown(book: Book) -> Iterator[books.Gate]:
    yield book.own
    for _, gate in sorted(book.tasks.items()):
        if gate.live or gate.paused or gate.declared is not None or gate.override is not None:
            yield gate


def _gate(gate: books.Gate) -> Gate:
    return Gate(gate.task or None, gate.settings, gate.override is not None, gate.paused, gate.live, gate.running)


def _entry(job: int) -> int:
    return job & LAST_ENTRY


def _record(book: Book, row: Row) -> Record:
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
