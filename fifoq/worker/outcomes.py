"""
The outcome of a run: retries, the crash budget and retention are decided here, and only here.

These are functions of the run and of the error that its function raised. They write nothing.
"""

import asyncio
import traceback
from types import TracebackType

from fifoq.clock import microseconds, seconds_of
from fifoq.codec import encode_error
from fifoq.errors import BackendCorrupt, GiveUp, RetryAfter
from fifoq.record import Cancel, Damaged, Fail, Outcome, Release, Retry
from fifoq.worker.run import ProcessDied, RemoteError, ResultNotSendable, Run, Stop, Unreadable, message_of, name_of

CANCELLED = "cancelled"
"""The reason of a cancelled job whose cancellation gave none."""
_OWN = __name__.rpartition(".")[0] + "."
"""Prefix of the modules whose frames are cut off a traceback: they are the worker's."""


def before_start(run: Run) -> Outcome | None:
    """
    Return the outcome of a job whose function must not begin: it was stopped before, its crash budget is spent, or its
    record is damaged.
    """
    if run.stopped is not None:
        return _stopped(run, run.stopped)
    if run.lease.damage is not None:
        return _fail(run, encode_error(BackendCorrupt.__name__, str(damaged(run))))
    crashes, budget = run.lease.crashes, run.plan.definition.max_crashes
    if crashes < budget:
        return None
    text = (
        f"{crashes} times a worker died, or lost its lease, while it ran this job (max_crashes={budget}). It was not "
        "run again. Find out why the process died, or was blocked for longer than the lease; then requeue the job."
    )
    return _fail(run, encode_error("TooManyCrashes", text))


def damaged(run: Run) -> Damaged:
    """Return the damage of a job whose record cannot be read."""
    return Damaged(run.lease.spec.id, run.lease.entry, run.lease.damage or "")


def outcome_of(run: Run, error: BaseException) -> Outcome | None:
    """
    Return the outcome of a job whose function raised; None if its lease is lost, so that another attempt counts.

    An error that cannot be judged fails the job: an exception may be any object of the user's code. `run.error` is
    then the error whose text the outcome has: another one than the function's, if it was stopped by its timeout.
    """
    try:
        if run.stopped is Stop.TIMEOUT and isinstance(error, asyncio.CancelledError | ProcessDied):
            error = timed_out(run)
        outcome = _judge(run, error)
    except BaseException as broken:
        outcome = _fail(run, encode_error(name_of(error), both(error, broken), trace_of(error)))
    if isinstance(outcome, Fail | Retry):
        run.error = error
    return outcome


def unsettleable(run: Run, outcome: Outcome, error: Exception) -> Fail:
    """Return the outcome of a job in place of one that the store cannot take."""
    text = (
        f"The job ended with {type(outcome).__name__}, but the store cannot take that: {name_of(error)}: "
        f"{message_of(error)} The function is not run again. Requeue the job if it is safe to repeat."
    )
    return _fail(run, encode_error("OutcomeNotStorable", text))


def _judge(run: Run, error: BaseException) -> Outcome | None:
    why = run.stopped
    return _failed(run, error) if why is None or why is Stop.TIMEOUT else _stopped(run, why)


def released(run: Run, after: float = 0.0) -> Release:
    """Return an outcome that puts the job back at its place, due in `after` seconds. No attempt is counted."""
    return Release(microseconds(after), run.plan.results_kept)


def _stopped(run: Run, why: Stop) -> Outcome | None:
    if why is Stop.LOST:
        return None
    if why is Stop.CANCEL:
        return Cancel(CANCELLED, run.plan.results_kept)
    return released(run)


def _failed(run: Run, error: BaseException) -> Outcome:
    definition = run.plan.definition
    data = _encode(error)
    # A lease that ended unsettled counts against max_crashes, not against the attempts.
    tries = max(1, run.lease.attempt - run.lease.crashes)
    if not _may_retry(definition.retry.on, error) or tries >= definition.retry.attempts:
        return _fail(run, data)
    after = _wait_of(error) if isinstance(error, RetryAfter) else seconds_of(definition.retry.delay(tries))
    return Retry(microseconds(after), data, run.plan.results_kept)


def _wait_of(error: RetryAfter) -> float:
    """Return the seconds that a task asks to wait. Raises ValueError: a wait for good would hold its key for good."""
    try:
        seconds = float(error.seconds)
        return 0.0 if seconds < 0 else seconds_of(seconds)
    except (ValueError, OverflowError) as raised:
        raise ValueError(f"The wait of RetryAfter {raised}") from raised


def _fail(run: Run, error: bytes) -> Fail:
    return Fail(error, run.plan.definition.halt, run.plan.failures_kept)


def _may_retry(on: tuple[type[Exception], ...], error: BaseException) -> bool:
    match error:
        case GiveUp() | Unreadable() | ResultNotSendable():
            return False
        case RetryAfter() | ProcessDied():
            # The death of a process is no exception of the function's, so `on` does not apply: like a crash, it is
            # tried again, but it counts an attempt, since the worker saw it happen.
            return True
        case RemoteError():
            return any(f"{kind.__module__}.{kind.__qualname__}" in error.kinds for kind in on)
        case asyncio.CancelledError():
            # No stop was requested: the function awaited something that was cancelled, an error like any other.
            return Exception in on
        case _:
            return isinstance(error, on)


def timed_out(run: Run) -> TimeoutError:
    """Return the error of a run that was stopped by its timeout."""
    definition = run.plan.definition
    late = ", and stopped only when its thread returned" if definition.run_in == "thread" else ""
    return TimeoutError(f"Task {definition.name!r} ran for longer than its timeout of {definition.timeout:g} s{late}.")


def _encode(error: BaseException) -> bytes:
    if isinstance(error, RemoteError):
        return encode_error(error.type, str(error), error.trace)
    return encode_error(name_of(error), message_of(error), trace_of(error))


def both(error: BaseException, broken: BaseException) -> str:
    """The text of an error, and of the one that was raised while the worker judged it."""
    return f"{message_of(error)} (The worker cannot judge this error: {name_of(broken)}: {message_of(broken)})"


def trace_of(error: BaseException) -> str:
    """The traceback as text, from the first frame that is not the worker's own. Never with values of variables."""
    try:
        if isinstance(error, Unreadable | ResultNotSendable | ProcessDied):
            return ""
        return "".join(traceback.format_exception(type(error), error, _without_worker(error.__traceback__)))
    except BaseException as broken:
        return f"(the traceback cannot be had: {type(broken).__name__})"


def _without_worker(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(_OWN):
        trace = trace.tb_next
    return trace
