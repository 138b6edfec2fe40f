"""How jobs come in: put."""

from collections import Counter
from collections.abc import Sequence

from fifoq.queue import Conflict, Full, PutReply, Receipt
from fifoq.record import JobSpec, fast_constructor
from fifoq_memory.queue_state import QueueState
from fifoq_memory.settle import fire

_receipt = fast_constructor(Receipt)


def put(book: QueueState, now: int, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
    """Enter batches one after another, each as a whole or not at all."""
    fire(book, now)
    if len(batches) == 1:
        return (_put_batch(book, now, batches[0]),)
    return tuple([_put_batch(book, now, batch) for batch in batches])


def _put_batch(book: QueueState, now: int, batch: Sequence[JobSpec]) -> PutReply:
    # Nearly always nothing stands against a batch, seen here at half the cost of looking at each job on its own.
    if book.capped:
        return _put_with_care(book, now, batch)
    if len(batch) == 1:
        spec = batch[0]
        if spec.id in book.jobs or spec.unique is not None:
            return _put_with_care(book, now, batch)
        book.enter(spec, now)
        return (_receipt((spec.id, True)),)
    ids = [spec.id for spec in batch]
    if len({*ids}) < len(ids) or not book.jobs.keys().isdisjoint(ids) or {spec.unique for spec in batch} != {None}:
        return _put_with_care(book, now, batch)
    for spec in batch:
        book.enter(spec, now)
    return tuple([_receipt((id, True)) for id in ids])


def _put_with_care(book: QueueState, now: int, batch: Sequence[JobSpec]) -> PutReply:
    fresh: dict[str, JobSpec] = {}
    receipts: list[Receipt] = []
    texts: dict[str, str] = {}
    """Of the batch's unique texts: the id of the first job with it."""
    for spec in batch:
        id = spec.id
        there = _same_id(book, fresh, id)
        if there is not None:
            if there.task != spec.task or there.payload != spec.payload:
                return Conflict(id)
            receipts.append(Receipt(id, False))
            continue
        if spec.unique is not None:
            holder = _same_unique(book, texts, spec)
            if holder is not None:
                receipts.append(Receipt(holder, False))
                continue
        fresh[id] = spec
        receipts.append(Receipt(id, True))
    full = _full(book, fresh) if book.capped else None
    if full is not None:
        return full
    for spec in fresh.values():
        book.enter(spec, now)
    return tuple(receipts)


def _same_id(book: QueueState, fresh: dict[str, JobSpec], id: str) -> JobSpec | None:
    job = book.jobs.get(id)
    return fresh.get(id) if job is None else job.spec


def _same_unique(book: QueueState, texts: dict[str, str], spec: JobSpec) -> str | None:
    """The id of the job that holds the spec's unique text already; if there is none, the spec holds it from now on."""
    assert spec.unique is not None
    job = book.uniques.get(spec.unique)
    if job is not None:
        return job.spec.id
    first = texts.setdefault(spec.unique, spec.id)
    return None if first == spec.id else first


def _full(book: QueueState, fresh: dict[str, JobSpec]) -> Full | None:
    """The first capacity that the batch does not fit into: the queue's, then the tasks' by name."""
    capacity = book.gate.settings.capacity
    if fresh and capacity is not None and book.live + len(fresh) > capacity:
        return Full(None, capacity, book.live, len(fresh))
    for name, asked in sorted(Counter(spec.task for spec in fresh.values()).items()):
        gate = book.task(name)
        capacity = gate.settings.capacity
        if capacity is not None and gate.live + asked > capacity:
            return Full(name, capacity, gate.live, asked)
    return None
