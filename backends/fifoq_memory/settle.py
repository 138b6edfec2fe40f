"""Extend and settle: leases held and ended; and the timers that end the others."""

from collections.abc import Sequence

from fifoq.queue import MAX_TIMERS
from fifoq.record import Cancel, Extension, Fail, Hold, Outcome, Release, Retry, Settlement, State, Succeed
from fifoq_memory.jobs import Job
from fifoq_memory.queue_state import RUNNING, SCHEDULED, WAITING, QueueState

EXPIRED = "expired"
_SUCCEEDED, _HELD, _CANCEL, _LOST = State.SUCCEEDED, Hold.HELD, Hold.CANCEL, Hold.LOST


# ---- timers ----


def fire(state: QueueState, now: int) -> None:
    """Fire the timers that are due, by (time, entry), at most MAX_TIMERS."""
    timers = state.timers
    run, rest = timers.run, timers.rest
    if not (run and run[0][0] <= now) and not (rest and rest[0][0] <= now):
        return  # the usual case, found without a call
    for entry in timers.due(now, MAX_TIMERS):
        job = state.numbers.get(entry)
        assert job is not None, f"entry {entry} has a timer and no job"
        if job.state is RUNNING:
            _end_lease(state, job, now)
        elif job.expires_at is not None and job.expires_at <= now:
            job.reason = EXPIRED
            state.end(job, State.CANCELLED, now, 0)
        else:
            _fall_due(state, job)


def _end_lease(state: QueueState, job: Job, now: int) -> None:
    """End a lease whose holder did not extend it in time."""
    job.crashes += 1
    if job.cancel_requested:
        state.end(job, State.CANCELLED, now, 0)
    else:
        state.put_back(job, now, 0)


def _fall_due(state: QueueState, job: Job) -> None:
    """Make a job claimable whose delay or back-off is over."""
    job.due_at = None
    state.set_timer(job)
    if job.state is SCHEDULED:
        state.scheduled -= 1
        job.state = WAITING
        state.arrive_late(job)
    elif job.line is None:
        state.offer(job)
    elif job.line.head is job:
        state.offer_head(job.line)


# ---- leases ----


def extend(state: QueueState, now: int, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
    """Extend leases, in order."""
    return tuple([_extend(state, now, extension) for extension in extensions])


def _extend(state: QueueState, now: int, extension: Extension) -> Hold:
    job = state.jobs.get(extension.id)
    if job is None or job.token != extension.token:
        return _LOST
    job.lease_end = now + extension.lease
    state.timers.set(job.entry, job.lease_end)
    if extension.progress is not None:
        job.progress = extension.progress
    return _CANCEL if job.cancel_requested else _HELD


def settle(state: QueueState, now: int, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
    """End leases, in order."""
    return tuple([_settle(state, now, id, token, outcome) for id, token, outcome in settlements])


def _settle(state: QueueState, now: int, id: str, token: str, outcome: Outcome) -> State | None:
    job = state.jobs.get(id)
    if job is None or job.token != token:
        return None
    if type(outcome) is Succeed:
        job.result, retain = outcome
        job.error = job.reason = None
        state.end(job, _SUCCEEDED, now, retain)
        return _SUCCEEDED
    _settle_otherwise(state, now, job, outcome)
    return job.state


def _settle_otherwise(state: QueueState, now: int, job: Job, outcome: Outcome) -> None:
    match outcome:
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
        case Succeed():
            raise AssertionError("settled before")


def _put_back(state: QueueState, now: int, job: Job, after: int, retain: int) -> None:
    """Return a job to its place; cancel one that is asked to cancel."""
    if job.cancel_requested:
        state.end(job, State.CANCELLED, now, retain)
    else:
        state.put_back(job, now, after)
