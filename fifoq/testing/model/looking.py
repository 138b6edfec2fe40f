"""What is seen of the queue: find, stats, blocked keys."""

from fifoq.queue import BlockedKeyRecord, Gate, Stats
from fifoq.record import Filter, Record, State
from fifoq.testing.model.book import Book


def find(book: Book, filter: Filter) -> tuple[Record, ...]:
    """All matching records, in order of entry."""
    records = (item.record() for item in sorted(book.items, key=lambda item: item.entry))
    return tuple(record for record in records if _matches(record, filter))


def _matches(record: Record, filter: Filter) -> bool:
    seen = Filter(record.state, record.spec.task, record.spec.key, record.spec.owner)
    return all(wanted is None or wanted == there for wanted, there in zip(filter, seen, strict=True))


def stats(book: Book, now: int) -> Stats:
    counts = {state.value: sum(item.state is state for item in book.items) for state in State}
    waiting = [item for item in book.items if item.state is State.WAITING]
    first = min(waiting, key=lambda item: item.place, default=None)
    known = {*book.declared, *book.overrides, *book.paused, *(item.spec.task for item in book.counted(None))}
    tasks = sorted(task for task in known if task is not None)
    return Stats(
        **counts,
        purged=book.purged,
        accepted=book.accepted,
        oldest_waiting=first and now - first.created_at,
        gates=tuple(_gate(book, task) for task in (None, *tasks)),
    )


def _gate(book: Book, task: str | None) -> Gate:
    return Gate(
        task,
        book.settings(task),
        overridden=task in book.overrides,
        paused=task in book.paused,
        live=len(book.counted(task)),
        running=len(book.running(task)),
    )


def blocked_keys(book: Book) -> list[BlockedKeyRecord]:
    """Every blocked key, oldest first."""
    blocked = (_blocked(book, key) for key in book.lines())
    return sorted((one for one in blocked if one), key=lambda one: (one.since, one.key))


def _blocked(book: Book, key: str) -> BlockedKeyRecord | None:
    head = book.head(key)
    job_id = head.spec.id if head else None
    if head and head.halted and head.finished_at is not None:
        return BlockedKeyRecord(key, job_id, "halted", head.finished_at)
    if key in book.paused_keys:
        return BlockedKeyRecord(key, job_id, "paused", book.paused_keys[key])
    if head and head.due_at is not None:
        return BlockedKeyRecord(key, job_id, "backing off", head.held_since)
    return None
