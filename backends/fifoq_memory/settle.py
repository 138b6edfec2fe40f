"""How a lease is held and how it ends: extend and settle."""

from collections.abc import Sequence

from fifoq.queue import MAX_TIMERS
from fifoq.record import Cancel, Extension, Fail, Hold, Outcome, Release, Retry, Settlement, State, Succeed
from fifoq_memory.jobs import Job
from fifoq_memory.queue_state import RUNNING, SCHEDULED, WAITING, QueueState

EXPIRED = "expired"


def fire(book: QueueState, now: int) -> None:
    """Fire the timers that are due, by (time, entry), at most MAX_TIMERS."""
    timers = book.timers
    run, rest = timers.run, timers.rest
    if not (run and run[0][0] <= now) and not (rest and rest[0][0] <= now):
        return  # nearly always, so it is worth a look without a call
    for entry in timers.due(now, MAX_TIMERS):
        job = book.register.get(entry)
        assert job is not None, f"entry {entry} has a timer and no job"
        if job.state is RUNNING:
            _end_lease(book, job, now)
        elif job.expires_at is not None and job.expires_at <= now:
            job.reason = EXPIRED
            book.end(job, State.CANCELLED, now, 0)
        else:
            _fall_due(book, job)


def _end_lease(book: QueueState, job: Job, now: int) -> None:
    """Its holder was not heard of in time."""
    job.crashes += 1
    if job.cancel_requested:
        book.end(job, State.CANCELLED, now, 0)
    else:
        book.put_back(job, now, 0)


def _fall_due(book: QueueState, job: Job) -> None:
    """Its delay or its back-off is over."""
    job.due_at = None
    book.set_timer(job)
    if job.state is SCHEDULED:
        book.scheduled -= 1
        job.state = WAITING
        book.arrive_late(job)
    elif job.line is None:
        book.offer(job)
    elif job.line.head is job:
        book.face(job.line)


_SUCCEEDED, _HELD, _CANCEL, _LOST = State.SUCCEEDED, Hold.HELD, Hold.CANCEL, Hold.LOST


def extend(book: QueueState, now: int, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
    """Hear the heartbeats."""
    return tuple([_extend(book, now, extension) for extension in extensions])


def _extend(book: QueueState, now: int, extension: Extension) -> Hold:
    job = book.jobs.get(extension.id)
    if job is None or job.token != extension.token:
        return _LOST
    job.lease_end = now + extension.lease
    book.timers.set(job.entry, job.lease_end)
    if extension.progress is not None:
        job.progress = extension.progress
    return _CANCEL if job.cancel_requested else _HELD


def settle(book: QueueState, now: int, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
    """End leases, in order."""
    return tuple([_settle(book, now, id, token, outcome) for id, token, outcome in settlements])


def _settle(book: QueueState, now: int, id: str, token: str, outcome: Outcome) -> State | None:
    job = book.jobs.get(id)
    if job is None or job.token != token:
        return None
    if type(outcome) is Succeed:
        job.result, retain = outcome
        job.error = job.reason = None
        book.end(job, _SUCCEEDED, now, retain)
        return _SUCCEEDED
    _settle_otherwise(book, now, job, outcome)
    return job.state


def _settle_otherwise(book: QueueState, now: int, job: Job, outcome: Outcome) -> None:
    match outcome:
        case Fail(error, halt, retain):
            job.error, job.reason = error, None
            job.halted = halt and job.spec.key is not None
            book.end(job, State.FAILED, now, retain)
        case Cancel(reason, retain):
            job.reason = job.reason if job.cancel_requested else reason
            book.end(job, State.CANCELLED, now, retain)
        case Retry(after, error, retain):
            job.error = error
            _put_back(book, now, job, after, retain)
        case Release(after, retain):
            job.attempt -= 1
            _put_back(book, now, job, after, retain)
        case Succeed():
            raise AssertionError("settled before")


def _put_back(book: QueueState, now: int, job: Job, after: int, retain: int) -> None:
    """To its place, or, if it was asked to cancel, to its end."""
    if job.cancel_requested:
        book.end(job, State.CANCELLED, now, retain)
    else:
        book.put_back(job, now, after)
