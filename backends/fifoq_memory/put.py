"""Put: batches enter the queue."""

from collections import Counter
from collections.abc import Sequence

from fifoq.queue import Conflict, Full, PutReply, Receipt
from fifoq.record import JobSpec, fast_constructor
from fifoq_memory.queue_state import QueueState
from fifoq_memory.settle import fire

_receipt = fast_constructor(Receipt)


def put(state: QueueState, now: int, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
    """Enter batches one after another, each as a whole or not at all."""
    fire(state, now)
    if len(batches) == 1:
        return (_put_batch(state, now, batches[0]),)
    return tuple([_put_batch(state, now, batch) for batch in batches])


def _put_batch(state: QueueState, now: int, batch: Sequence[JobSpec]) -> PutReply:
    # Nearly always no id, unique text or capacity is in the way: these checks cost half of those for each job.
    if state.capped:
        return _put_with_care(state, now, batch)
    if len(batch) == 1:
        spec = batch[0]
        if spec.id in state.jobs or spec.unique is not None:
            return _put_with_care(state, now, batch)
        state.enter(spec, now)
        return (_receipt((spec.id, True)),)
    ids = [spec.id for spec in batch]
    if len({*ids}) < len(ids) or not state.jobs.keys().isdisjoint(ids) or {spec.unique for spec in batch} != {None}:
        return _put_with_care(state, now, batch)
    for spec in batch:
        state.enter(spec, now)
    return tuple([_receipt((id, True)) for id in ids])


def _put_with_care(state: QueueState, now: int, batch: Sequence[JobSpec]) -> PutReply:
    fresh: dict[str, JobSpec] = {}
    receipts: list[Receipt] = []
    texts: dict[str, str] = {}
    """The batch's unique texts, with the id of the first job of each."""
    for spec in batch:
        id = spec.id
        there = _same_id(state, fresh, id)
        if there is not None:
            if there.task != spec.task or there.payload != spec.payload:
                return Conflict(id)
            receipts.append(Receipt(id, False))
            continue
        if spec.unique is not None:
            holder = _same_unique(state, texts, spec)
            if holder is not None:
                receipts.append(Receipt(holder, False))
                continue
        fresh[id] = spec
        receipts.append(Receipt(id, True))
    full = _full(state, fresh) if state.capped else None
    if full is not None:
        return full
    for spec in fresh.values():
        state.enter(spec, now)
    return tuple(receipts)


def _same_id(state: QueueState, fresh: dict[str, JobSpec], id: str) -> JobSpec | None:
    job = state.jobs.get(id)
    return fresh.get(id) if job is None else job.spec


def _same_unique(state: QueueState, texts: dict[str, str], spec: JobSpec) -> str | None:
    """Return the id of the job that holds the spec's unique text; without one, the spec holds it from now on."""
    assert spec.unique is not None
    job = state.uniques.get(spec.unique)
    if job is not None:
        return job.spec.id
    first = texts.setdefault(spec.unique, spec.id)
    return None if first == spec.id else first


def _full(state: QueueState, fresh: dict[str, JobSpec]) -> Full | None:
    """Return the first capacity that the batch exceeds: the queue's, then the tasks' by name; None if it fits."""
    capacity = state.gate.settings.capacity
    if fresh and capacity is not None and state.live + len(fresh) > capacity:
        return Full(None, capacity, state.live, len(fresh))
    for name, asked in sorted(Counter(spec.task for spec in fresh.values()).items()):
        gate = state.task(name)
        capacity = gate.settings.capacity
        if capacity is not None and gate.live + asked > capacity:
            return Full(name, capacity, gate.live, asked)
    return None
