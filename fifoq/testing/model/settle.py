"""Extend and settle: leases held and ended."""

from fifoq.record import Cancel, Extension, Fail, Hold, Outcome, Release, Retry, Settlement, State, Succeed
from fifoq.testing.model.queue_state import Job, QueueState


def extend(state: QueueState, now: int, extension: Extension) -> Hold:
    """Extend one lease."""
    job = _held(state, extension.id, extension.token)
    if job is None:
        return Hold.LOST
    job.lease_end = now + extension.lease
    if extension.progress is not None:
        job.progress = extension.progress
    return Hold.CANCEL if job.cancel_requested else Hold.HELD


def settle(state: QueueState, now: int, settlement: Settlement) -> State | None:
    """End one lease."""
    job = _held(state, settlement.id, settlement.token)
    if job is None:
        return None
    _apply(state, now, job, settlement.outcome)
    return job.state


def _held(state: QueueState, id: str, token: str) -> Job | None:
    """Return the job, if the token is still its own."""
    job = state.job(id)
    return job if job and job.token == token else None


def _apply(state: QueueState, now: int, job: Job, outcome: Outcome) -> None:
    match outcome:
        case Succeed(result, retain):
            job.result, job.error, job.reason = result, None, None
            state.end(job, State.SUCCEEDED, now, retain)
        case Fail(error, halt, retain):
            job.error, job.reason = error, None
            job.halted = halt and job.spec.key is not None
            state.end(job, State.FAILED, now, retain)
        case Cancel(reason, retain):
            job.reason = job.reason if job.cancel_requested else reason
            state.end(job, State.CANCELLED, now, retain)
        case Retry(after, error, retain):
            job.error = error
            _put_back(state, now, job, after, retain)
        case Release(after, retain):
            job.attempt -= 1
            _put_back(state, now, job, after, retain)


def _put_back(state: QueueState, now: int, job: Job, after: int, retain: int) -> None:
    """Return a job to its place; cancel one that is asked to cancel."""
    if job.cancel_requested:
        state.end(job, State.CANCELLED, now, retain)
        return
    job.state, job.token = State.WAITING, None
    job.due_at = now + after if after > 0 else None
    job.held_since = now
