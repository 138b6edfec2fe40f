"""What operators do: cancel, requeue, skip, configure, purge."""

from collections.abc import Sequence

from fifoq.errors import InvalidArguments
from fifoq.queue import (
    MAX_PAGE,
    BlockedKeyRecord,
    BlockedKeys,
    Changed,
    Declare,
    Gate,
    Override,
    Pause,
    Resume,
    Setting,
    Stats,
)
from fifoq.record import Filter, Record, Records, State
from fifoq_memory.indexes import Since
from fifoq_memory.jobs import Gate as AnyGate
from fifoq_memory.jobs import Job, Line, TaskGate
from fifoq_memory.queue_state import RUNNING, WAITING, QueueState


def find(book: QueueState, filter: Filter, cursor: int, limit: int) -> Records:
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


def stats(book: QueueState, now: int) -> Stats:
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
        gates=(_shown_gate(None, book.gate, book.live), *(_shown_gate(task.name, task, task.live) for task in tasks)),
    )


def _shown_gate(task: str | None, gate: AnyGate, live: int) -> Gate:
    return Gate(task, gate.settings, gate.override is not None, gate.paused, live, gate.running)


def blocked_keys(book: QueueState, cursor: str | None, limit: int) -> BlockedKeys:
    """A page of blocked keys, oldest first."""
    keys: list[BlockedKeyRecord] = []
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


def _blocked_key(line: Line) -> BlockedKeyRecord:
    blocked = line.blocked()
    assert blocked is not None, f"the key {line.key!r} is in the index of blocked keys and is not blocked"
    return BlockedKeyRecord(line.key, None if line.head is None else line.head.spec.id, *blocked)


_GONE = Changed(None, False)


def cancel(book: QueueState, now: int, id: str, reason: str) -> Changed:
    """End what waits; ask for it if it runs."""
    job = book.jobs.get(id)
    if job is None:
        return _GONE
    if job.state.ended or job.cancel_requested:
        return Changed(job.state, False)
    job.reason = reason
    if job.state is RUNNING:
        job.cancel_requested = True
    else:
        book.end(job, State.CANCELLED, now, 0)
    return Changed(job.state, True)


def requeue(book: QueueState, id: str) -> Changed:
    """Put a failed job back: a halted one at its place, any other at the end of the line."""
    job = book.jobs.get(id)
    if job is None:
        return _GONE
    if job.state is not State.FAILED:
        return Changed(job.state, False)
    unique = job.spec.unique
    if not job.halted and unique is not None:
        holder = book.uniques.setdefault(unique, job)
        if holder is not job:
            return Changed(job.state, False, holder.spec.id)
    _come_back(book, job)
    return Changed(job.state, True)


def _come_back(book: QueueState, job: Job) -> None:
    halted = job.halted
    _forget_tries(job)
    book.ended[State.FAILED] -= 1
    job.task.live += 1
    book.purges.clear(job.entry)
    if not halted:
        book.arrive_late(job)
    elif job.line is not None:
        book.oldest.came_back(job)
        book.face(job.line)


def _forget_tries(job: Job) -> None:
    job.state, job.halted, job.kept_until = WAITING, False, None
    job.attempt = job.crashes = 0
    job.error = job.progress = job.worker = job.started_at = job.finished_at = None


def skip(book: QueueState, now: int, id: str) -> Changed:
    """Let the key of a halted job go on without it."""
    job = book.jobs.get(id)
    if job is None:
        return _GONE
    if not job.halted:
        return Changed(job.state, False)
    job.halted = False
    book.leave(job, now)
    return Changed(State.FAILED, True)


def purge(book: QueueState, now: int, limit: int) -> int:
    """Remove ended jobs whose time is over, by (time, entry)."""
    over = book.purges.due(now, limit)
    for entry in over:
        job = book.register.get(entry)
        assert job is not None, f"entry {entry} is to be purged and has no job"
        book.remove(job)
    # Whoever asks for stats next has less to pass.
    book.oldest.find(book.register)
    return len(over)


def configure(book: QueueState, now: int, settings: Sequence[Setting]) -> None:
    """Apply settings, in order."""
    for setting in settings:
        _apply(book, now, setting)
    gates = (book.gate, *book.tasks.values())
    book.rated = any(gate.interval is not None for gate in gates)
    book.capped = any(gate.settings.capacity is not None for gate in gates)
    book.roused = True


def _apply(book: QueueState, now: int, setting: Setting) -> None:
    match setting:
        case Declare(task, settings):
            gate = _gate(book, task)
            gate.declared = settings
            _put_in_force(gate)
        case Override(task, settings):
            gate = _gate(book, task)
            gate.override = settings
            _put_in_force(gate)
        case Pause(_, str(key)):
            _pause(book, key, now)
        case Resume(_, str(key)):
            _resume(book, key)
        case Pause(task):
            _gate(book, task).paused = True
        case Resume(task):
            _gate(book, task).paused = False


def _gate(book: QueueState, task: str | None) -> AnyGate:
    return book.gate if task is None else book.task(task)


def _put_in_force(gate: AnyGate) -> None:
    """O(values of the task), if the width of those changed."""
    before = gate.settings.value_limit
    gate.read_settings()
    if isinstance(gate, TaskGate) and gate.settings.value_limit != before:
        for value in gate.values.values():
            value.show()


def _pause(book: QueueState, key: str, now: int) -> None:
    line = book.lines.get(key)
    if line is None:
        line = book.lines[key] = Line(key)
    if line.paused_since is None:
        line.paused_since = now
        if line.head is not None and line.head.state is WAITING:
            line.head.task.withdraw(line.head)
        book.mark(line)


def _resume(book: QueueState, key: str) -> None:
    line = book.lines.get(key)
    if line is not None and line.paused_since is not None:
        line.paused_since = None
        book.face(line)
