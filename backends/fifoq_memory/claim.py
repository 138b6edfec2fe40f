"""Claim: the choice of the next jobs, and their leases."""

from collections.abc import Collection
from heapq import heappop, heappush
from typing import NamedTuple

from fifoq.record import Claimed, Lease, fast_constructor
from fifoq_memory.jobs import END, SEQ_MASK, TaskGate
from fifoq_memory.queue_state import RUNNING, QueueState
from fifoq_memory.settle import fire

_lease = fast_constructor(Lease)


class Terms(NamedTuple):
    """The part that all leases of one claim share."""

    prefix: str
    """Of their tokens: the call."""
    worker: str
    now: int
    end: int


def claim(state: QueueState, terms: Terms, n: int, tasks: Collection[str]) -> Claimed:
    """Lease up to `n` jobs: n times the best one behind the gates of the known tasks."""
    now = terms.now
    fire(state, now)
    leases: list[Lease] = []
    left = room = state.gate.room(now, n)
    gates = _open_gates(state, now, tasks) if room else []
    while gates and left:
        gate = heappop(gates)[1]
        # Until its next job comes after another gate's first, the same gate has the best one.
        bound = gates[0][0] if gates else END
        _lease_run(state, gate, gate.room(now, left), bound, terms, leases)
        gate.take(left - room + len(leases), now)
        left = room - len(leases)
        if left:
            _add_gate(gates, gate, now)
    state.gate.take(room - left, now)
    return Claimed(tuple(leases), _next_timer(state, now, tasks))


def _open_gates(state: QueueState, now: int, tasks: Collection[str]) -> list[tuple[int, TaskGate]]:
    """Return the open gates of the known tasks with a claimable job, as a heap by the score of their first job."""
    gates: list[tuple[int, TaskGate]] = []
    for name in frozenset(tasks):
        gate = state.tasks.get(name)
        if gate is not None:
            _add_gate(gates, gate, now)
    return gates


def _add_gate(gates: list[tuple[int, TaskGate]], gate: TaskGate, now: int) -> None:
    if gate.room(now, 1):
        first = gate.ready.first()
        if first is not None:
            heappush(gates, (first, gate))


def _lease_run(state: QueueState, gate: TaskGate, most: int, bound: int, terms: Terms, leases: list[Lease]) -> None:
    """Lease up to `most` jobs of one task, while their scores are below `bound`."""
    prefix, worker, now, end = terms
    pop, set_timer = gate.ready.pop, state.timers.set
    for _ in range(most):
        job = pop(bound)
        if job is None:
            return
        if job.value is not None:
            job.value.admit(job)
        state.fence = fence = state.fence + 1
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
        leases.append(_lease((job.spec, token, fence, entry, seq, attempt, job.crashes, job.created_at, now, None)))


def _next_timer(state: QueueState, now: int, tasks: Collection[str]) -> int | None:
    """Return the microseconds until a timer or a token may make a job claimable. Early at times, never late."""
    at = state.timers.next()
    if state.rated:
        gates = [state.gate, *(state.tasks[name] for name in tasks if name in state.tasks)]
        times = (at, *(gate.opens_at(now) for gate in gates))
        at = min((one for one in times if one is not None), default=None)
    return None if at is None else max(0, at - now)
