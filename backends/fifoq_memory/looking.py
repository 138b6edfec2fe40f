"""What is seen of the queue: find, stats, blocked keys. Nothing here changes what another look would see."""

from fifoq.errors import InvalidArguments
from fifoq.queue import MAX_PAGE, BlockedKey, BlockedKeys, Gate, Stats
from fifoq.record import Filter, Record, Records
from fifoq.state import State
from fifoq_memory.blocked import Since
from fifoq_memory.book import Book
from fifoq_memory.gates import Gate as AnyGate
from fifoq_memory.job import Job
from fifoq_memory.line import Line


def find(book: Book, filter: Filter, cursor: int, limit: int) -> Records:
    """A page of matching records, in order of entry."""
    records: list[Record] = []
    for looked, (number, job) in enumerate(book.register.after(cursor)):
        if looked == MAX_PAGE or len(records) == limit:
            return Records(tuple(records), cursor)
        cursor = number
        # A job has a second number if it came into the line later; it is found under its entry.
        if number == job.entry and _matches(job, filter):
            records.append(job.record())
    return Records(tuple(records), None)


def _matches(job: Job, filter: Filter) -> bool:
    spec = job.spec
    seen = Filter(job.state, spec.task, spec.key, spec.owner)
    return all(wanted is None or wanted == there for wanted, there in zip(filter, seen, strict=True))


def stats(book: Book, now: int) -> Stats:
    """The counts."""
    oldest = book.oldest.find(book.register)
    tasks = sorted((task for task in book.tasks.values() if task.known), key=lambda task: task.name)
    return Stats(
        scheduled=book.scheduled,
        waiting=book.live - book.gate.running - book.scheduled,
        running=book.gate.running,
        succeeded=book.ended[State.SUCCEEDED],
        failed=book.ended[State.FAILED],
        cancelled=book.ended[State.CANCELLED],
        purged=book.purged,
        accepted=book.accepted,
        oldest_waiting=None if oldest is None else now - oldest.created_at,
        gates=(_gate(None, book.gate, book.live), *(_gate(task.name, task, task.live) for task in tasks)),
    )


def _gate(task: str | None, gate: AnyGate, live: int) -> Gate:
    return Gate(task, gate.settings, gate.override is not None, gate.paused, live, gate.running)


def blocked_keys(book: Book, cursor: str | None, limit: int) -> BlockedKeys:
    """A page of blocked keys, oldest first."""
    keys: list[BlockedKey] = []
    last: Since | None = _read_cursor(cursor)
    for since, key in book.blocked.after(last):
        if len(keys) == min(limit, MAX_PAGE):
            return BlockedKeys(tuple(keys), cursor)
        keys.append(_blocked_key(book.lines[key]))
        cursor = f"{since}:{key}"
    return BlockedKeys(tuple(keys), None)


def _read_cursor(cursor: str | None) -> Since | None:
    if cursor is None:
        return None
    since, colon, key = cursor.partition(":")
    if not (colon and since.isdecimal()):
        raise InvalidArguments(
            f"A cursor is one that a page of blocked keys gave, not {cursor!r}. Leave it out to begin.",
            parameter="cursor",
        )
    return int(since), key


def _blocked_key(line: Line) -> BlockedKey:
    blocked = line.blocked()
    assert blocked is not None, f"the key {line.key!r} is in the index of blocked keys and is not blocked"
    return BlockedKey(line.key, None if line.head is None else line.head.spec.id, *blocked)
