"""
Putting few jobs: stored, but not filed, so that one awaited put writes one page of the file instead of five.

The pages are what a single put costs: each is copied, summed and flushed. Filing is left to the next call that needs
it, most often a worker's claim, which writes those pages anyway.
"""

import json
from collections import Counter
from collections.abc import Sequence

from fifoq.queue import Call, Full
from fifoq.record import JobSpec
from fifoq_sqlite.book import Book, Unfiled
from fifoq_sqlite.session import Session
from fifoq_sqlite.statements import rows
from fifoq_sqlite.timers import nothing_due

FEW = 8
"""So many jobs of one call are worth leaving unfiled; more are cheaper filed at once."""
MOST = 256
"""So many jobs of a queue are left unfiled at a time: to read them again must stay cheap."""


def put_alone(session: Session, book: Book, call: Call, specs: Sequence[JobSpec]) -> bool:
    """Store `specs` without filing them, if nothing speaks against it: no duplicate, no limit, no timer, no option."""
    if not book.plain or len(book.unfiled) + len(specs) > MOST or not _simple(book, specs):
        return False
    now = session.tick(book)
    if book.set_back or not nothing_due(session, book, now) or _taken(session, book, specs):
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
    own, tasks = book.own, {spec.task for spec in specs}
    if all(gate.settings.capacity is None for gate in (own, *(book.tasks[task] for task in tasks & book.tasks.keys()))):
        return None
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
    return all(plain(spec) and spec.task in book.tasks for spec in specs) and full(book, specs) is None


def _taken(session: Session, book: Book, specs: Sequence[JobSpec]) -> bool:
    """Whether any of the ids is there already, or twice."""
    ids = {spec.id for spec in specs}
    if len(ids) < len(specs) or not book.unfiled.keys().isdisjoint(ids):
        return True
    if len(specs) == 1:
        return session.run("jobs_same_id", (book.id, specs[0].id)).fetchone() is not None
    return session.run("jobs_taken", (book.id, json.dumps(list(ids)))).fetchone() is not None


def _store(session: Session, book: Book, call: Call, specs: Sequence[JobSpec], now: int) -> None:
    values: list[object] = []
    for entry, spec in enumerate(specs, book.counter + 1):
        id, task, payload, key, value, priority, _, _, _, _, retain, owner, meta = spec
        gate, job = book.tasks[task], book.number(entry)
        values += (job, id, gate.id, key, value, priority, entry, now, retain, owner, meta, payload, *call)
        book.leave_unfiled(id, Unfiled(job, gate, key, value, priority, *call), now)
    session.connection.execute(rows("unfiled_enter", len(specs)), values)
