"""Put: batches enter the queue."""

from collections.abc import Sequence

from fifoq.queue import Conflict, Full, PutReply, Receipt
from fifoq.record import JobSpec, State
from fifoq.testing.model.queue_state import Job, QueueState


def put(state: QueueState, now: int, batch: Sequence[JobSpec]) -> PutReply:
    """Enter one batch as a whole, or not at all."""
    fresh: list[JobSpec] = []
    receipts: list[Receipt] = []
    for spec in batch:
        there = _same_id(state, fresh, spec.id)
        if there and (there.task, there.payload) != (spec.task, spec.payload):
            return Conflict(spec.id)
        there = there or _same_unique(state, fresh, spec.unique)
        receipts.append(Receipt(there.id if there else spec.id, there is None))
        if there is None:
            fresh.append(spec)
    full = _full(state, fresh)
    if full:
        return full
    for spec in fresh:
        _enter(state, now, spec)
    return tuple(receipts)


def _same_id(state: QueueState, fresh: list[JobSpec], id: str) -> JobSpec | None:
    job = state.job(id)
    return job.spec if job else next((spec for spec in fresh if spec.id == id), None)


def _same_unique(state: QueueState, fresh: list[JobSpec], unique: str | None) -> JobSpec | None:
    if unique is None:
        return None
    job = state.holder(unique)
    return job.spec if job else next((spec for spec in fresh if spec.unique == unique), None)


def _full(state: QueueState, fresh: list[JobSpec]) -> Full | None:
    """Return the first capacity that the batch exceeds: the queue's, then the tasks' by name; None if it fits."""
    for task in (None, *sorted({spec.task for spec in fresh})):
        capacity = state.settings(task).capacity
        live = len(state.counted(task))
        asked = sum(task in (None, spec.task) for spec in fresh)
        if capacity is not None and asked and live + asked > capacity:
            return Full(task, capacity, live, asked)
    return None


def _enter(state: QueueState, now: int, spec: JobSpec) -> None:
    entry = state.next_number()
    scheduled = spec.delay > 0 and not spec.in_line
    state.accepted += 1
    state.jobs.append(
        Job(
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
