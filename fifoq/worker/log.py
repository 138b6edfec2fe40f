"""
The lines of a worker's log, one an event. A line about the end of a job is made of the outcome that the store has.

docs/logging.md lists the events, with their levels and fields.
"""

import contextlib
import logging
from enum import StrEnum
from typing import Any

from fifoq.clock import SECOND
from fifoq.codec import decode_error
from fifoq.record import Fail, Outcome, Retry, State
from fifoq.worker.run import Run, name_of

log = logging.getLogger("fifoq.worker")
routine = logging.getLogger("fifoq.worker.jobs")
"""For the lines of jobs that start and succeed, so that a program can choose a level of their own for them."""


class Event(StrEnum):
    """The field `event` of a line."""

    WORKER_STARTED = "worker_started"
    TASK_SERVED = "task_served"
    WORKER_STOPPING = "worker_stopping"
    WORKER_STOPPED = "worker_stopped"
    WORKER_WAITS = "worker_waits"
    JOB_STARTED = "job_started"
    JOB_SUCCEEDED = "job_succeeded"
    JOB_RETRIED = "job_retried"
    JOB_FAILED = "job_failed"
    JOB_CANCELLED = "job_cancelled"
    JOB_RELEASED = "job_released"
    JOB_LOST = "job_lost"


NO_JOB = dict.fromkeys(("queue", "task", "job", "key", "attempt", "seconds"))
"""The fields of a job, for lines about none: a format may name them."""


def fields(run: Run) -> dict[str, Any]:
    """Return the fields of every line about a job, for `extra=`."""
    spec, plan = run.lease.spec, run.plan
    return {
        "worker": plan.worker,
        "queue": run.queue,
        "task": plan.name,
        "job": spec.id,
        "key": spec.key,
        "attempt": run.lease.attempt,
        "seconds": None,
    }


def job_started(run: Run) -> None:
    """Log that a function begins. Only if the level is DEBUG: the caller checks that, once for many jobs."""
    with contextlib.suppress(Exception):
        starts = "Job %s of task %r%s starts: attempt %d."
        _log(run, logging.DEBUG, starts, run.lease.attempt, logger=routine, event=Event.JOB_STARTED)


def job_settled(run: Run, outcome: Outcome, state: State | None) -> None:
    """Log the end of a run. `state`: the job's state in the store after that, or None if the lease was lost before."""
    error, run.error = run.error, None  # its traceback refers to the run
    # A handler or filter of the user's may raise, here as above, and the jobs count more.
    with contextlib.suppress(Exception):
        ended: dict[str, Any] = {"seconds": run.seconds}
        if state is None:
            lost = (
                "Job %s of task %r%s had ended here, but its lease was lost before: another attempt counts. If this "
                "happens often, the task holds up the process for longer than the lease."
            )
            _log(run, logging.WARNING, lost, event=Event.JOB_LOST, **ended)
        elif state is State.SUCCEEDED:
            _log(
                run,
                logging.INFO,
                "Job %s of task %r%s succeeded after %.3g s.",
                run.seconds,
                logger=routine,
                event=Event.JOB_SUCCEEDED,
                **ended,
            )
        elif state is State.CANCELLED:
            _log(
                run,
                logging.INFO,
                "Job %s of task %r%s is cancelled after %.3g s.",
                run.seconds,
                event=Event.JOB_CANCELLED,
                **ended,
            )
        elif isinstance(outcome, Fail):
            _log_failure(run, outcome, error)
        elif isinstance(outcome, Retry):
            _log_retry(run, outcome, error)
        else:
            level = logging.INFO if run.started else logging.DEBUG
            _log(
                run,
                level,
                "Job %s of task %r%s goes back to its place: no attempt is counted.",
                event=Event.JOB_RELEASED,
                **ended,
            )


def _log_retry(run: Run, outcome: Retry, error: BaseException | None) -> None:
    kind, message, traceback = decode_error(outcome.error)
    wait = outcome.after / SECOND
    _log(
        run,
        logging.INFO,
        # %r: the text of an exception may come from anywhere, and must not forge or break lines of the log.
        "Job %s of task %r%s is tried again in %.3g s: attempt %d: %s: %.200r.",
        wait,
        run.lease.attempt,
        kind,
        message,
        event=Event.JOB_RETRIED,
        seconds=run.seconds,
        wait=wait,
        error=kind,
        error_message=message,
        traceback=traceback,
        exc_info=_info(error) if error is not None and log.isEnabledFor(logging.DEBUG) else None,
    )


def _log_failure(run: Run, outcome: Fail, error: BaseException | None) -> None:
    """
    Log a final failure, with its traceback.

    The traceback is the stored text, also where the exception is at hand, as `exc_info`: that has the worker's own
    frames. It is not at hand if it was raised in a child process.
    """
    if not log.isEnabledFor(logging.WARNING):
        return
    kind, message, traceback = decode_error(outcome.error)
    held = " Its key stays closed until it is requeued or skipped." if outcome.halt else ""
    record = log.makeRecord(
        log.name,
        logging.WARNING,
        *log.findCaller()[:2],
        "Job %s of task %r%s failed after %.3g s: attempt %d: %s: %.200r.%s",
        (*_named(run), run.seconds, run.lease.attempt, kind, message, held),
        _info(error) if error is not None and traceback and name_of(error) == kind else None,
        extra={
            **fields(run),
            "event": Event.JOB_FAILED,
            "seconds": run.seconds,
            "error": kind,
            "error_message": message,
            "traceback": traceback,
        },
    )
    record.exc_text = traceback.rstrip("\n") or None
    log.handle(record)


def _info(error: BaseException) -> Any:
    return type(error), error, _traceback(error)


_traceback = BaseException.__dict__["__traceback__"].__get__
"""Reads a traceback. `error.__traceback__` may run code of the user's."""


def _named(run: Run) -> tuple[str, str, str]:
    key = run.lease.spec.key
    return run.lease.spec.id, run.plan.name, "" if key is None else f", key {key!r},"


def _log(
    run: Run,
    level: int,
    message: str,
    *args: Any,
    logger: logging.Logger = log,
    exc_info: Any = None,
    **more: Any,
) -> None:
    if logger.isEnabledFor(level):
        extra = {**fields(run), **more}
        logger.log(level, message, *_named(run), *args, exc_info=exc_info, extra=extra, stacklevel=2)
