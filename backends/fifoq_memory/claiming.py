"""Which job may run next, and its lease: claim."""

from collections.abc import Collection
from heapq import heappop, heappush
from typing import NamedTuple

from fifoq.lease import Claimed, Lease
from fifoq_memory.book import RUNNING, Book
from fifoq_memory.firing import fire
from fifoq_memory.gates import TaskGate
from fifoq_memory.job import SEQ_MASK
from fifoq_memory.ready import END


class Terms(NamedTuple):
    """What all leases of one claim have in common."""

    prefix: str
    """Of their tokens: the call."""
    worker: str
    now: int
    end: int


def claim(book: Book, terms: Terms, n: int, tasks: Collection[str]) -> Claimed:
    """Lease up to `n` jobs: n times the best one behind the gates of the known tasks."""
    now = terms.now
    fire(book, now)
    leases: list[Lease] = []
    room = book.gate.room(now, n)
    doors = _open_doors(book, now, tasks) if room else []
    while doors and room > len(leases):
        door = heappop(doors)[1]
        before = len(leases)
        # Until its next job comes after another door's first, the same door has the best one.
        bound = doors[0][0] if doors else END
        _lease_run(book, door, door.room(now, room - before), bound, terms, leases)
        door.take(len(leases) - before, now)
        _add_door(doors, door, now)
    book.gate.take(len(leases), now)
    return Claimed(tuple(leases), _next_timer(book, now, tasks))


def _open_doors(book: Book, now: int, tasks: Collection[str]) -> list[tuple[int, TaskGate]]:
    """The known tasks' gates that are open and have a job to give, as a heap by the score of their first."""
    doors: list[tuple[int, TaskGate]] = []
    for name in frozenset(tasks):
        door = book.tasks.get(name)
        if door is not None:
            _add_door(doors, door, now)
    return doors


def _add_door(doors: list[tuple[int, TaskGate]], door: TaskGate, now: int) -> None:
    if door.room(now, 1):
        first = door.ready.first()
        if first is not None:
            heappush(doors, (first, door))


def _lease_run(book: Book, door: TaskGate, most: int, bound: int, terms: Terms, leases: list[Lease]) -> None:
    """Lease up to `most` jobs of one task, while their scores are below `bound`."""
    prefix, worker, now, end = terms
    pop, set_timer, new = door.ready.pop, book.timers.set, tuple.__new__
    for _ in range(most):
        job = pop(bound)
        if job is None:
            return
        if job.value is not None:
            job.value.admit(job)
        book.fence = fence = book.fence + 1
        job.state = RUNNING
        job.token = token = f"{prefix}{fence}"
        job.worker = worker
        job.started_at = now
        job.lease_end = end
        job.attempt = attempt = job.attempt + 1
        job.progress = job.expires_at = None
        entry = job.entry
        set_timer(entry, end)
        seq = job.score & SEQ_MASK
        # Half the cost of the NamedTuple's own `__new__`, which is written in Python.
        leases.append(new(Lease, (job.spec, token, fence, entry, seq, attempt, job.crashes, job.created_at, now)))


def _next_timer(book: Book, now: int, tasks: Collection[str]) -> int | None:
    """Microseconds until a timer or, of a gate that lacks just that, a token. Early rather than exact, never late."""
    at = book.timers.next()
    waits = [] if at is None else [max(0, at - now)]
    if book.rated:
        gates = [book.gate, *(book.tasks[name] for name in tasks if name in book.tasks)]
        waits += [wait for gate in gates if (wait := gate.token_in(now)) is not None]
    return min(waits, default=None)
