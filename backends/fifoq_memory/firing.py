"""What time alone does to jobs: put and claim begin with it."""

from fifoq.queue import MAX_TIMERS
from fifoq.state import State
from fifoq_memory.book import RUNNING, SCHEDULED, WAITING, Book
from fifoq_memory.job import Job

EXPIRED = "expired"


def fire(book: Book, now: int) -> None:
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


def _end_lease(book: Book, job: Job, now: int) -> None:
    """Its holder was not heard of in time."""
    job.crashes += 1
    if job.cancel_requested:
        book.end(job, State.CANCELLED, now, 0)
    else:
        book.put_back(job, now, 0)


def _fall_due(book: Book, job: Job) -> None:
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
