"""
Putting few jobs: stored, but not filed, so that one awaited put writes one page of the file instead of five.

The pages are what a single put costs: each is copied, summed and flushed. Filing is left to the next call that needs
it, most often a worker's claim, which writes those pages anyway.
"""

import json
from collections import Counter
from collections.abc import Sequence

from fifoq.queue import Call, Full
from fifoq.quick import quick
from fifoq.record import JobSpec
from fifoq_sqlite.book import Book, Unfiled
from fifoq_sqlite.session import Session
from fifoq_sqlite.statements import rows
from fifoq_sqlite.timers import nothing_due

_unfiled = quick(Unfiled)

FEW = 8
"""So many jobs of one call are worth leaving unfiled; more are cheaper filed at once."""
MOST = 256
"""So many jobs of a queue are left unfiled at a time: to read them again must stay cheap."""


def put_alone(session: Session, book: Book, call: Call, specs: Sequence[JobSpec]) -> bool:
    """Store `specs` without filing them, if nothing speaks against it: no duplicate, no limit, no timer, no option."""
    if not book.plain or len(book.unfiled) + len(specs) > MOST or not _simple(book, specs):
        return False
    now = session.tick(book)
    due = now >= book.alarm and not nothing_due(session, book, now)
    if due or book.set_back or _taken(session, book, specs):
        return False
    _store(session, book, call, specs, now)
    session.changes = True
    session.woken.add(book.name)
    return True


def plain(spec: JobSpec) -> bool:
    """Whether a job waits for nothing but its turn."""
    return not (spec.delay or spec.in_line) and spec.expires is None and spec.unique is None


def full(book: Book, specs: Sequence[JobSpec]) -> Full | None:
    """The first capacity that so many do not fit into: the queue's, then the tasks' by name."""
    if not book.bounded({spec.task for spec in specs}):
        return None
    own = book.own
    capacity = own.settings.capacity
    if specs and capacity is not None and own.live + len(specs) > capacity:
        return Full(None, capacity, own.live, len(specs))
    for task, asked in sorted(Counter(spec.task for spec in specs).items()):
        gate = book.tasks.get(task)
        capacity = gate and gate.settings.capacity
        if gate and capacity is not None and gate.live + asked > capacity:
            return Full(task, capacity, gate.live, asked)
    return None


def _simple(book: Book, specs: Sequence[JobSpec]) -> bool:
    tasks = book.tasks
    for spec in specs:
        if spec.task not in tasks or not plain(spec):
            return False
    return full(book, specs) is None


def _taken(session: Session, book: Book, specs: Sequence[JobSpec]) -> bool:
    """Whether any of the ids is there already, or twice."""
    if len(specs) == 1:
        id = specs[0].id
        return id in book.unfiled or session.run("jobs_same_id", (book.id, id)).fetchone() is not None
    ids = {spec.id for spec in specs}
    if len(ids) < len(specs) or not book.unfiled.keys().isdisjoint(ids):
        return True
    return session.run("jobs_taken", (book.id, json.dumps(list(ids)))).fetchone() is not None


def _store(session: Session, book: Book, call: Call, specs: Sequence[JobSpec], now: int) -> None:
    # sqlite3 looks for an adapter of None and of bytes, 0.3 µs each: 0 stands for NULL, a bytearray for bytes.
    values: list[object] = []
    caller, number = call
    for entry, spec in enumerate(specs, book.counter + 1):
        id, task, payload, key, value, priority, _, _, _, _, retain, owner, meta = spec
        gate, job = book.tasks[task], book.number(entry)
        values += (
            job, id, gate.id, 0 if key is None else key, 0 if value is None else value, priority, entry, now, retain,
            0 if owner is None else owner, bytearray(meta), bytearray(payload), caller, number,
        )  # fmt: skip
        book.leave_unfiled(id, _unfiled((job, gate, key, value, priority, caller, number)), now)
    session.connection.execute(rows("unfiled_enter", len(specs)), values)
