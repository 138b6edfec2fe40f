"""
Putting few jobs: stored, but not filed, so that one awaited put writes one page of the file instead of five.

The pages are what a single put costs: each is copied, summed and flushed. Filing is left to the next call that needs
it, most often a worker's claim, which writes those pages anyway.
"""

from collections import Counter
from collections.abc import Sequence

from fifoq.queue import Call, Full, PutReply, Receipt
from fifoq.quick import quick
from fifoq.record import JobSpec
from fifoq_sqlite.book import ENTRY_BITS, LAST_ENTRY, Book, Unfiled
from fifoq_sqlite.session import Session
from fifoq_sqlite.statements import rows
from fifoq_sqlite.timers import nothing_due

_unfiled, _receipt = quick(Unfiled), quick(Receipt)

FEW = 8
"""So many jobs of one call are worth leaving unfiled; more are cheaper filed at once."""
PLAIN = (0, False, None, None)
"""`delay`, `in_line`, `expires` and `unique` of a job that waits for nothing but its turn."""
MOST = 256
"""So many jobs of a queue are left unfiled at a time: to read them again must stay cheap."""


def put_alone(session: Session, book: Book, call: Call, specs: Sequence[JobSpec]) -> tuple[PutReply, ...] | None:
    """
    Store `specs` without filing them, and return the reply to as many batches of one; if nothing speaks against it.

    Returns None, and has done nothing, if there is a duplicate, a limit, a timer or an option.
    """
    if not book.plain or len(book.unfiled) + len(specs) > MOST:
        return None
    for spec in specs:
        if spec.task not in book.tasks or spec.id in book.unfiled or spec[6:10] != PLAIN:
            return None
    if len(specs) > 1 and len({spec.id for spec in specs}) < len(specs):
        return None
    if book.bounded and full(book, specs) is not None:
        return None
    now = session.tick(book)
    if book.set_back or (now >= book.alarm and not nothing_due(session, book, now)):
        return None
    return _store(session, book, call, specs, now)


def plain(spec: JobSpec) -> bool:
    """Whether a job waits for nothing but its turn."""
    return spec[6:10] == PLAIN


def full(book: Book, specs: Sequence[JobSpec]) -> Full | None:
    """The first capacity that so many do not fit into: the queue's, then the tasks' by name."""
    if not book.bounded:
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


def _store(session: Session, book: Book, call: Call, specs: Sequence[JobSpec], now: int) -> tuple[PutReply, ...] | None:
    """Store them, if no filed job has one of their ids."""
    # sqlite3 looks for an adapter of None and of bytes, 0.3 µs each: 0 stands for NULL, a bytearray for bytes.
    values: list[object] = []
    unfiled: list[Unfiled] = []
    replies: list[PutReply] = []
    caller, number = call
    first = (book.id << ENTRY_BITS) + book.counter + 1
    for job, spec in enumerate(specs, first):
        id, task, payload, key, value, priority, _, _, _, _, retain, owner, meta = spec
        gate = book.tasks[task]
        values += (
            job, id, book.id, id, gate.id, 0 if key is None else key, 0 if value is None else value, priority,
            job & LAST_ENTRY, now, retain,
            0 if owner is None else owner, bytearray(meta), bytearray(payload), caller, number,
        )  # fmt: skip
        unfiled.append(_unfiled((job, gate, key, value, priority, caller, number)))
        replies.append((_receipt((id, True)),))
    entered = session.connection.execute(rows("unfiled_enter", len(specs)), values).rowcount
    if entered < len(specs):
        if entered:
            session.run("jobs_undo_enter", (first, first + len(specs) - 1))
        return None
    for spec, one in zip(specs, unfiled, strict=True):
        book.leave_unfiled(spec.id, one, now)
    session.changes = True
    session.woken.add(book.name)
    return tuple(replies)
