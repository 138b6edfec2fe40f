"""Reading and operators' verbs: find, stats, blocked keys; cancel, requeue, skip, configure, purge."""

from fifoq.queue import BlockedKeyRecord, Changed, Declare, Gate, Override, Pause, Resume, Setting, Stats
from fifoq.record import Filter, Record, State
from fifoq.testing.model.queue_state import Job, QueueState

# ---- reading ----


def find(state: QueueState, filter: Filter) -> tuple[Record, ...]:
    """Return all matching records, in order of entry."""
    records = (job.record() for job in sorted(state.jobs, key=lambda job: job.entry))
    return tuple(record for record in records if _matches(record, filter))


def _matches(record: Record, filter: Filter) -> bool:
    seen = Filter(record.state, record.spec.task, record.spec.key, record.spec.owner)
    return all(wanted is None or wanted == there for wanted, there in zip(filter, seen, strict=True))


def stats(state: QueueState, now: int) -> Stats:
    counts = {one.value: sum(job.state is one for job in state.jobs) for one in State}
    waiting = [job for job in state.jobs if job.state is State.WAITING]
    first = min(waiting, key=lambda job: job.place, default=None)
    known = {*state.declared, *state.overrides, *state.paused, *(job.spec.task for job in state.counted(None))}
    tasks = sorted(task for task in known if task is not None)
    return Stats(
        **counts,
        purged=state.purged,
        accepted=state.accepted,
        oldest_waiting=first and now - first.created_at,
        gates=tuple(_gate(state, task) for task in (None, *tasks)),
    )


def _gate(state: QueueState, task: str | None) -> Gate:
    return Gate(
        task,
        state.settings(task),
        overridden=task in state.overrides,
        paused=task in state.paused,
        live=len(state.counted(task)),
        running=len(state.running(task)),
    )


def blocked_keys(state: QueueState, owner: str | None) -> list[BlockedKeyRecord]:
    """Return every blocked key, oldest first; with `owner`, those whose head is a job of that owner."""
    heads = ((key, state.head(key)) for key in state.keys_in_use())
    keys = (key for key, head in heads if owner is None or (head and head.spec.owner == owner))
    blocked = (_blocked(state, key) for key in keys)
    return sorted((one for one in blocked if one), key=lambda one: (one.since, one.key))


def _blocked(state: QueueState, key: str) -> BlockedKeyRecord | None:
    head = state.head(key)
    job_id = head.spec.id if head else None
    if head and head.halted and head.finished_at is not None:
        return BlockedKeyRecord(key, job_id, "halted", head.finished_at)
    if key in state.paused_keys:
        return BlockedKeyRecord(key, job_id, "paused", state.paused_keys[key])
    if head and head.due_at is not None:
        return BlockedKeyRecord(key, job_id, "backing off", head.held_since)
    return None


# ---- operators ----


def cancel(state: QueueState, now: int, id: str, reason: str) -> Changed:
    job = state.job(id)
    if job is None:
        return Changed(None, False)
    if job.state.ended or job.cancel_requested:
        return Changed(job.state, False)
    job.reason = reason
    if job.state is State.RUNNING:
        job.cancel_requested = True
    else:
        state.end(job, State.CANCELLED, now, 0)
    return Changed(job.state, True)


def requeue(state: QueueState, id: str) -> Changed:
    job = state.job(id)
    if job is None or job.state is not State.FAILED:
        return Changed(job and job.state, False)
    if not job.halted:
        holder = state.holder(job.spec.unique)
        if holder:
            return Changed(State.FAILED, False, holder.spec.id)
        job.seq = state.next_number()
    _as_if_never_tried(job)
    return Changed(State.WAITING, True)


def _as_if_never_tried(job: Job) -> None:
    job.state, job.halted, job.kept_until = State.WAITING, False, None
    job.attempt = job.crashes = 0
    job.error = job.progress = job.worker = job.started_at = job.finished_at = None


def skip(state: QueueState, now: int, id: str) -> Changed:
    job = state.job(id)
    if job is None or not job.halted:
        return Changed(job and job.state, False)
    job.halted = False
    state.retire(job, now)
    return Changed(State.FAILED, True)


def configure(state: QueueState, now: int, setting: Setting) -> None:
    match setting:
        case Declare(task, settings):
            state.declared[task] = settings
        case Override(task, settings):
            state.overrides.pop(task, None)
            if settings:
                state.overrides[task] = settings
        case Pause(_, str(key)):
            state.paused_keys.setdefault(key, now)
        case Pause(task, _):
            state.paused.add(task)
        case Resume(_, str(key)):
            state.paused_keys.pop(key, None)
        case Resume(task, _):
            state.paused.discard(task)


def purge(state: QueueState, now: int, limit: int) -> int:
    over = [job for job in state.jobs if job.kept_until is not None and job.kept_until <= now]
    removed = sorted(over, key=lambda job: (job.kept_until, job.entry))[:limit]
    for job in removed:
        state.remove(job)
    return len(removed)
