"""How jobs come into the queue: put."""

from collections.abc import Sequence

from fifoq.queue import Conflict, Full, PutReply, Receipt
from fifoq.record import JobSpec, State
from fifoq.testing.model.book import Book, Item


def put(book: Book, now: int, batch: Sequence[JobSpec]) -> PutReply:
    """Enter one batch as a whole, or not at all."""
    fresh: list[JobSpec] = []
    receipts: list[Receipt] = []
    for spec in batch:
        there = _same_id(book, fresh, spec.id)
        if there and (there.task, there.payload) != (spec.task, spec.payload):
            return Conflict(spec.id)
        there = there or _same_unique(book, fresh, spec.unique)
        receipts.append(Receipt(there.id if there else spec.id, there is None))
        if there is None:
            fresh.append(spec)
    full = _full(book, fresh)
    if full:
        return full
    for spec in fresh:
        _enter(book, now, spec)
    return tuple(receipts)


def _same_id(book: Book, fresh: list[JobSpec], id: str) -> JobSpec | None:
    item = book.item(id)
    return item.spec if item else next((spec for spec in fresh if spec.id == id), None)


def _same_unique(book: Book, fresh: list[JobSpec], unique: str | None) -> JobSpec | None:
    if unique is None:
        return None
    item = book.holder(unique)
    return item.spec if item else next((spec for spec in fresh if spec.unique == unique), None)


def _full(book: Book, fresh: list[JobSpec]) -> Full | None:
    """The first capacity that the batch does not fit into: the queue's, then the tasks' by name."""
    for task in (None, *sorted({spec.task for spec in fresh})):
        capacity = book.settings(task).capacity
        live = len(book.counted(task))
        asked = sum(task in (None, spec.task) for spec in fresh)
        if capacity is not None and asked and live + asked > capacity:
            return Full(task, capacity, live, asked)
    return None


def _enter(book: Book, now: int, spec: JobSpec) -> None:
    entry = book.next_number()
    scheduled = spec.delay > 0 and not spec.in_line
    book.accepted += 1
    book.items.append(
        Item(
            spec,
            entry,
            seq=None if scheduled else entry,
            state=State.SCHEDULED if scheduled else State.WAITING,
            created_at=now,
            due_at=now + spec.delay if spec.delay > 0 else None,
            held_since=now,
            expires_at=None if spec.expires is None else now + spec.expires,
        )
    )
