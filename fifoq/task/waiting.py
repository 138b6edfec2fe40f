"""
Waiting for the end of a job. A wait of a job for a job that cannot begin before it ends is refused: a deadlock.

A job that waits is known by a context variable, which its asyncio tasks and calls from its thread inherit. The waits of
this process make a graph, so that chains of jobs are seen as well. A chain over several processes is not.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Generator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

from fifoq.clock import MAX_SECONDS
from fifoq.errors import BackendError, ConfigurationError
from fifoq.queue import Queue
from fifoq.record import Damaged, JobSpec, Record, State

log = logging.getLogger("fifoq")

LOOK_AGAIN = 30.0
"""Seconds after which an endless wait calls the backend again, so that a lost notification cannot hold it for good."""

ANSWER_WITHIN = 1.0
"""Seconds beyond the timeout of a wait after which it ends although the store has not answered."""


class PlacedJob(NamedTuple):
    """A job, with all that it may hold against another one: its key, and its places in limits."""

    connection: Any
    """Of the Fifoq to whose store it belongs. Compared by identity."""
    queue: str
    id: str
    task: str
    key: str | None
    value: str | None

    @classmethod
    def of(cls, connection: Any, queue: str, spec: JobSpec) -> "PlacedJob":
        """Return the job with this spec."""
        return cls(connection, queue, spec.id, spec.task, spec.key, spec.value)

    def __str__(self) -> str:
        return f"job {self.id} of task {self.task!r}"


class Holder(Protocol):
    """A job that runs: the value of `running`."""

    ended: bool

    @property
    def job(self) -> PlacedJob:
        """The job."""
        ...

    @property
    def above(self) -> Sequence[PlacedJob]:
        """The jobs that wait for it in another process, directly or in a chain."""
        ...

    def waits(self, target: PlacedJob, begins: bool) -> None:
        """Take note that a wait begins or ends."""
        ...


running: ContextVar[Holder | None] = ContextVar("fifoq_running", default=None)
"""The job whose code runs. Tasks and callbacks that a job makes inherit it, and may outlast it."""


# ---- the waits of this process ----


class Waits:
    """Which job waits for which, in all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._targets: dict[PlacedJob, list[PlacedJob]] = {}

    def __contains__(self, job: PlacedJob) -> bool:
        return job in self._targets

    def __bool__(self) -> bool:
        return bool(self._targets)

    def begin(self, waiter: PlacedJob, target: PlacedJob) -> None:
        """Note that `waiter` waits for `target`."""
        with self._lock:
            self._targets.setdefault(waiter, []).append(target)

    def end(self, waiter: PlacedJob, target: PlacedJob) -> None:
        """Undo one `begin`."""
        with self._lock:
            targets = self._targets.get(waiter, [])
            if target in targets:
                targets.remove(target)
            if not targets:
                self._targets.pop(waiter, None)

    def forget(self, waiter: PlacedJob) -> None:
        """Undo all that began for `waiter`."""
        with self._lock:
            self._targets.pop(waiter, None)

    def has(self, waiter: PlacedJob, target: PlacedJob) -> bool:
        """Whether `waiter` waits for `target`."""
        return target in self._targets.get(waiter, ())

    def above(self, job: PlacedJob) -> list[PlacedJob]:
        """Return the job, and all that wait for it, directly or in a chain."""
        found = [job]
        with self._lock:
            for each in found:
                found += [one for one, targets in self._targets.items() if each in targets and one not in found]
        return found

    def below(self, job: PlacedJob) -> list[PlacedJob]:
        """Return the job, and all that it waits for, directly or in a chain."""
        found = [job]
        with self._lock:
            for each in found:
                found += [one for one in self._targets.get(each, ()) if one not in found]
        return found


waits = Waits()


@contextlib.contextmanager
def waiting_for(holder: Holder, target: PlacedJob) -> Generator[None]:
    """Note that the job of `holder` waits for `target`, for a block."""
    waits.begin(holder.job, target)
    holder.waits(target, True)
    try:
        yield
    finally:
        waits.end(holder.job, target)
        holder.waits(target, False)


# ---- waiting ----


async def end_of(connection: Any, queue: str, id: str, timeout: float | None) -> Record | Damaged | None:
    """
    Return the record of a job once it has ended, or None after `timeout` seconds. None: wait for good.

    The time counts from this call, also if the store does not answer. Raises JobNotFound, and ConfigurationError if a
    job waits for one that cannot begin before it ends.
    """
    if timeout is None:
        return await _end_within(connection, queue, id, None)
    limit = asyncio.timeout(min(max(0.0, timeout), MAX_SECONDS) + ANSWER_WITHIN)
    try:
        async with limit:
            return await _end_within(connection, queue, id, timeout)
    except TimeoutError:
        if not limit.expired():
            raise
        return None


async def _end_within(connection: Any, queue: str, id: str, timeout: float | None) -> Record | Damaged | None:
    found: Queue = connection.queue(queue)
    holder = running.get()
    if holder is None or holder.ended or (timeout is not None and timeout <= 0):
        return await _end_of(found, id, timeout)
    (record,) = await found.get([id])
    if record is None or isinstance(record, Damaged) or record.state.ended:
        return await _end_of(found, id, timeout)
    target = PlacedJob.of(connection, queue, record.spec)
    if not waits.has(holder.job, target):
        begun = record.state is State.RUNNING
        await refuse_deadlock(holder, target, "It stays enqueued.", begun=begun)
    with waiting_for(holder, target):
        record = await _end_of(found, id, LOOK_AGAIN if timeout is None else min(timeout, LOOK_AGAIN))
        if record is not None or (timeout is not None and timeout <= LOOK_AGAIN):
            return record
        await _warn_of(holder, target, found)
        return await _end_of(found, id, None if timeout is None else timeout - LOOK_AGAIN)


async def _end_of(queue: Queue, id: str, timeout: float | None) -> Record | Damaged | None:
    record = await queue.finished(id, LOOK_AGAIN if timeout is None else min(max(0.0, timeout), MAX_SECONDS))
    while record is None and timeout is None:
        record = await queue.finished(id, LOOK_AGAIN)
    return record


async def _warn_of(holder: Holder, target: PlacedJob, queue: Queue) -> None:
    """Log that a job has waited for a while for one that has not begun: it may wait for this one in another process."""
    with contextlib.suppress(BackendError):
        (record,) = await queue.get([target.id])
        if isinstance(record, Record) and record.state in (State.SCHEDULED, State.WAITING) and not record.attempt:
            log.warning(
                "%s has waited %g s for %s in queue %r, which has not begun. Look whether a worker runs that task and "
                "has room for it. If it waits for a job in another process that waits for this one, it is a deadlock.",
                _first(str(holder.job)),
                LOOK_AGAIN,
                target,
                target.queue,
                extra={"queue": holder.job.queue, "task": holder.job.task, "job": holder.job.id, "key": holder.job.key},
            )


async def refuse_deadlock(holder: Holder, target: PlacedJob, after: str, *, begun: bool = False) -> None:
    """
    Raise ConfigurationError if `target` cannot end before the job of `holder` has ended, which is to wait for it.

    `begun`: it runs, so no key and no limit holds it up. `after` says whether it is enqueued.
    """
    waiter = holder.job
    above = waits.above(waiter) + list(holder.above)
    below = waits.below(target)
    stopped = above + [each for each in below if each in waits]
    for each in below:
        if each in above:
            raise _deadlock(waiter, target, each, "that waits for this one", after)
        if begun and each is target:
            continue
        bound = await _bound(each, [one for one in stopped if one != each and one[:2] == each[:2]])
        if bound is not None:
            raise _deadlock(waiter, target, each, bound, after)


async def _bound(job: PlacedJob, others: Sequence[PlacedJob]) -> str | None:
    """Return by what `job` is bound to others of its queue, which run, so that it cannot begin; None if it can."""
    if not others:
        return None
    for other in others:
        if job.key is not None and other.key == job.key:
            if job.key == job.queue:
                return f"{other} holds the line of queue {job.queue!r}, or its key {job.key!r}"
            return f"{other} holds the key {job.key!r} in queue {job.queue!r}"
    try:
        stats = await job.connection.queue(job.queue).stats()
    except (BackendError, ConfigurationError):
        return None  # the store does not answer now, or the Fifoq is open on another loop
    for gate in stats.gates:
        settings, there = gate.settings, [one for one in others if gate.task in (None, one.task)]
        if gate.task not in (None, job.task):
            continue
        if settings.limit is not None and len(there) >= settings.limit:
            place = f"queue {job.queue!r}" if gate.task is None else f"task {job.task!r}"
            return f"{_names(there)} fill the limit of {place}, which is {settings.limit}"
        same = [one for one in there if gate.task is not None and one.value == job.value]
        if settings.value_limit is not None and job.value is not None and len(same) >= settings.value_limit:
            return (
                f"{_names(same)} fill the limit of task {job.task!r} for {job.value!r}, which is {settings.value_limit}"
            )
    return None


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _names(jobs: Sequence[PlacedJob]) -> str:
    return ", ".join(map(str, jobs))


def _deadlock(waiter: PlacedJob, target: PlacedJob, last: PlacedJob, bound: str, after: str) -> ConfigurationError:
    chain = f"{waiter} waits for {target}" + ("" if last == target else f", which waits for {last}")
    return ConfigurationError(
        f"Deadlock: {_first(chain)}, which cannot end before this one: {bound}. {after} Do not wait "
        "for it: enqueue it and let this job end, or run its function here with a plain call (`await task(…)`). Or let "
        "nothing bind the two: give one another key (`options(key=…)`) or another queue, or raise the limit."
    )
