"""What operators do: cancel, requeue, skip, configure, purge."""

from collections.abc import Sequence

from fifoq.queue import Changed, Declare, Override, Pause, Resume, Setting
from fifoq.state import State
from fifoq_memory.book import RUNNING, WAITING, Book
from fifoq_memory.gates import Gate, TaskGate
from fifoq_memory.job import Job
from fifoq_memory.line import Line

_GONE = Changed(None, False)


def cancel(book: Book, now: int, id: str, reason: str) -> Changed:
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


def requeue(book: Book, id: str) -> Changed:
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


def _come_back(book: Book, job: Job) -> None:
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


def skip(book: Book, now: int, id: str) -> Changed:
    """Let the key of a halted job go on without it."""
    job = book.jobs.get(id)
    if job is None:
        return _GONE
    if not job.halted:
        return Changed(job.state, False)
    job.halted = False
    book.leave(job, now)
    return Changed(State.FAILED, True)


def purge(book: Book, now: int, limit: int) -> int:
    """Remove ended jobs whose time is over, by (time, entry)."""
    over = book.purges.due(now, limit)
    for entry in over:
        job = book.register.get(entry)
        assert job is not None, f"entry {entry} is to be purged and has no job"
        book.remove(job)
    # Whoever asks for stats next has less to pass.
    book.oldest.find(book.register)
    return len(over)


def configure(book: Book, now: int, settings: Sequence[Setting]) -> None:
    """Apply settings, in order."""
    for setting in settings:
        _apply(book, now, setting)
    gates = (book.gate, *book.tasks.values())
    book.rated = any(gate.interval is not None for gate in gates)
    book.capped = any(gate.settings.capacity is not None for gate in gates)
    book.roused = True


def _apply(book: Book, now: int, setting: Setting) -> None:
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


def _gate(book: Book, task: str | None) -> Gate:
    return book.gate if task is None else book.task(task)


def _put_in_force(gate: Gate) -> None:
    """O(values of the task), if the width of those changed."""
    before = gate.settings.value_limit
    gate.read_settings()
    if isinstance(gate, TaskGate) and gate.settings.value_limit != before:
        for value in gate.values.values():
            value.show()


def _pause(book: Book, key: str, now: int) -> None:
    line = book.lines.get(key)
    if line is None:
        line = book.lines[key] = Line(key)
    if line.paused_since is None:
        line.paused_since = now
        if line.head is not None and line.head.state is WAITING:
            line.head.task.withdraw(line.head)
        book.mark(line)


def _resume(book: Book, key: str) -> None:
    line = book.lines.get(key)
    if line is not None and line.paused_since is not None:
        line.paused_since = None
        book.face(line)
