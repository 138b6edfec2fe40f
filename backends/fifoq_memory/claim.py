"""Which job may run next, and its lease: claim."""

from collections.abc import Collection
from heapq import heappop, heappush
from typing import NamedTuple

from fifoq.record import Claimed, Lease, fast_constructor
from fifoq_memory.jobs import END, SEQ_MASK, TaskGate
from fifoq_memory.queue_state import RUNNING, QueueState
from fifoq_memory.settle import fire

_lease = fast_constructor(Lease)


class Terms(NamedTuple):
    """What all leases of one claim have in common."""

    prefix: str
    """Of their tokens: the call."""
    worker: str
    now: int
    end: int


def claim(book: QueueState, terms: Terms, n: int, tasks: Collection[str]) -> Claimed:
    """Lease up to `n` jobs: n times the best one behind the gates of the known tasks."""
    now = terms.now
    fire(book, now)
    leases: list[Lease] = []
    left = room = book.gate.room(now, n)
    doors = _open_doors(book, now, tasks) if room else []
    while doors and left:
        door = heappop(doors)[1]
        # Until its next job comes after another door's first, the same door has the best one.
        bound = doors[0][0] if doors else END
        _lease_run(book, door, door.room(now, left), bound, terms, leases)
        door.take(left - room + len(leases), now)
        left = room - len(leases)
        if left:
            _add_door(doors, door, now)
    book.gate.take(room - left, now)
    return Claimed(tuple(leases), _next_timer(book, now, tasks))


def _open_doors(book: QueueState, now: int, tasks: Collection[str]) -> list[tuple[int, TaskGate]]:
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


def _lease_run(book: QueueState, door: TaskGate, most: int, bound: int, terms: Terms, leases: list[Lease]) -> None:
    """Lease up to `most` jobs of one task, while their scores are below `bound`."""
    prefix, worker, now, end = terms
    pop, set_timer = door.ready.pop, book.timers.set
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
        leases.append(_lease((job.spec, token, fence, entry, seq, attempt, job.crashes, job.created_at, now)))


def _next_timer(book: QueueState, now: int, tasks: Collection[str]) -> int | None:
    """Microseconds until a timer or, of a gate that lacks just that, a token. Early rather than exact, never late."""
    at = book.timers.next()
    if book.rated:
        gates = [book.gate, *(book.tasks[name] for name in tasks if name in book.tasks)]
        times = (at, *(gate.opens_at(now) for gate in gates))
        at = min((one for one in times if one is not None), default=None)
    return None if at is None else max(0, at - now)
