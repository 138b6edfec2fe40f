"""Writers of events: around a producer's calls, in a task, and between worker and queue."""

import time
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from fifoq.errors import FifoqError, OutcomeUnknown
from fifoq.job import Job
from fifoq.queue import Backend, Call, Queue
from fifoq.record import Claimed, Extension, Hold, Settlement, State
from fifoq.testing.history.events import (
    Answer,
    Answered,
    Asked,
    Effect,
    Ended,
    Final,
    How,
    Leased,
    Log,
    Settled,
    Started,
    stamp,
)
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Handle(Protocol):
    """The result of an enqueue: a handle."""

    @property
    def created(self) -> bool: ...


class TaskContext(Protocol):
    """The Context of a task."""

    @property
    def job(self) -> Job: ...
    @property
    def fence(self) -> int: ...


H = TypeVar("H", bound=Handle)


class Producer:
    """One producer: a `Fifoq`, whose calls enter in the order in which they are made."""

    def __init__(self, log: Log, name: str = "producer") -> None:
        self._log = log
        self._name = name
        self._number = 0

    async def enqueue(
        self, queue: str, id: str, key: str | None, call: Callable[[], Awaitable[H]], *, delayed: bool = False
    ) -> H:
        """Make `call`, which enqueues job `id`; return its result or raise its error."""
        self._number += 1
        number = self._number
        self._log.write(Asked(stamp(), queue, id, key, self._name, number, delayed))
        answer = Answer.UNKNOWN
        try:
            handle = await call()
            answer = Answer.ACCEPTED if handle.created else Answer.REPEATED
            return handle
        except FifoqError as error:
            answer = Answer.UNKNOWN if isinstance(error, OutcomeUnknown) else Answer.REFUSED
            raise
        finally:
            self._log.write(Answered(stamp(), queue, id, self._name, number, answer))


@contextmanager
def attempt(log: Log, ctx: TaskContext, value: str | None = None) -> Generator[Callable[[], None]]:
    """
    Write the start and the end of an attempt around the body of its task. Yields a function that writes its effect.

        @tasks.task(key="match")
        async def save(ctx: Context, match: str) -> None:
            with attempt(log, ctx) as effect:
                ...
                effect()
    """
    job, fence = ctx.job, ctx.fence
    began = job.started_at
    claimed_at = None if began is None else (began - _EPOCH) // _MICROSECOND
    worker = job.worker or ""
    log.write(Started(stamp(), job.queue, job.id, fence, worker, job.attempt, job.task, value, claimed_at=claimed_at))
    how = How.STOPPED
    try:
        yield lambda: log.write(Effect(stamp(), job.queue, job.id, fence))
        how = How.RETURNED
    except Exception:
        how = How.RAISED
        raise
    finally:
        log.write(Ended(stamp(), job.queue, job.id, fence, how))


async def write_finals(log: Log, jobs: AsyncIterable[Job]) -> None:
    """Write the final record of all jobs in the store, in order of entry: `write_finals(log, tasks.jobs())`."""
    entries: dict[str, int] = {}
    async for job in jobs:
        entries[job.queue] = entry = entries.get(job.queue, 0) + 1
        log.write(Final(job.queue, job.id, job.state, job.halted, entry))


class WatchedBackend(WrappedBackend):
    """A backend that logs its leases and the replies to its settlements. All other calls go through unchanged."""

    def __init__(self, backend: Backend, log: Log) -> None:
        super().__init__(backend, lambda queue: _WatchedQueue(queue, log))


class _WatchedQueue(WrappedQueue):
    def __init__(self, queue: Queue, log: Log) -> None:
        super().__init__(queue)
        self._log = log
        self._asked: dict[tuple[str, str], tuple[int, int]] = {}

    async def claim(
        self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int = 0
    ) -> Claimed:
        asked_at = self._first_asked("claim", call)
        claimed = await self._queue.claim(call, worker, n, lease, tasks, ahead)
        if claimed.since is not None:
            asked_at -= max(0, int((time.monotonic() - claimed.since) * 1e9))
        for one in claimed.leases:
            self._write_lease(one.spec.id, one.fence, asked_at, lease)
        return claimed

    async def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        asked_at = stamp()
        holds = await self._queue.extend(extensions)
        for one, hold in zip(extensions, holds, strict=True):
            if hold is not Hold.LOST:
                self._write_lease(one.id, _fence(one.token), asked_at, one.lease)
        return holds

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        asked_at = self._first_asked("settle", call)
        states = await self._queue.settle(call, settlements)
        for one, state in zip(settlements, states, strict=True):
            self._log.write(Settled(stamp(), self._queue.name, one.id, _fence(one.token), asked_at, state))
        return states

    def _first_asked(self, verb: str, call: Call) -> int:
        """Return when this call was first made."""
        number, asked_at = self._asked.get((verb, call.caller), (-1, 0))
        if number != call.number:
            asked_at = stamp()
            self._asked[verb, call.caller] = call.number, asked_at
        return asked_at

    def _write_lease(self, job: str, fence: int, asked_at: int, lease: int) -> None:
        self._log.write(Leased(stamp(), self._queue.name, job, fence, asked_at, asked_at + lease * 1_000))


def _fence(token: str) -> int:
    return int(token.rpartition(".")[2])
