"""One queue of a SQLite store: `fifoq.queue.Queue`. Calls run in transactions of the writing or the reading thread."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Protocol, TypeVar

from fifoq.errors import JobNotFound
from fifoq.queue import Audit, BlockedKeys, Call, Changed, PutReply, Setting, Stats
from fifoq.record import Claimed, Damaged, Extension, Filter, Hold, JobSpec, Record, Records, Settlement, State
from fifoq.waiters import JobWaiters, Waiter
from fifoq_sqlite import claim, operations, put, settle
from fifoq_sqlite.audit import audit
from fifoq_sqlite.queue_state import QueueState
from fifoq_sqlite.replies import once
from fifoq_sqlite.session import Session
from fifoq_sqlite.transitions import indexed, indexed_or_made

A = TypeVar("A")
R = TypeVar("R")


class Store(Protocol):
    """The backend, as its queues use it."""

    def write(self, work: Callable[[Session], R], *, at_once: bool = False) -> Awaitable[R]: ...

    def read(self, work: Callable[[Session], R]) -> Awaitable[R]: ...

    def poll_changes(self) -> None:
        """Poll for changes whose notifications were lost, as long as a queue has waiters."""
        ...


class SqliteQueue:
    """One queue of the store."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self.waiters = QueueWaiters()
        self._store = store

    # ---- calls whose replies are stored ----

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        # A caller sends all that it has to put in one call: no further call of this turn is worth waiting for.
        return await self._store.write(partial(once, self.name, "put", call, put.put, batches), at_once=True)

    async def claim(
        self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int = 0
    ) -> Claimed:
        self.waiters.begin_claim()
        return await self._once("claim", call, claim.claim, claim.Terms(worker, n, lease, tasks))

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        return await self._once("settle", call, settle.settle, settlements)

    def _once(self, verb: str, call: Call, apply: Callable[[Session, str, Call, A], R], argument: A) -> Awaitable[R]:
        return self._store.write(partial(once, self.name, verb, call, apply, argument))

    # ---- calls that may be repeated ----

    async def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        return await self._write(
            lambda session, state: settle.extend(session, state, extensions), (Hold.LOST,) * len(extensions)
        )

    async def cancel(self, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
        return await self._write(
            lambda session, state: operations.cancel(session, state, ids, reason), (Changed(None, False),) * len(ids)
        )

    async def requeue(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return await self._write(
            lambda session, state: operations.requeue(session, state, ids), (Changed(None, False),) * len(ids)
        )

    async def skip(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return await self._write(
            lambda session, state: operations.skip(session, state, ids), (Changed(None, False),) * len(ids)
        )

    async def configure(self, settings: Sequence[Setting]) -> None:
        await self._store.write(
            lambda session: operations.configure(session, indexed_or_made(session, self.name), settings)
        )

    async def purge(self, limit: int) -> int:
        return await self._write(lambda session, state: operations.purge(session, state, limit), 0)

    # ---- queries ----

    async def get(self, ids: Sequence[str]) -> tuple[Record | Damaged | None, ...]:
        def query(session: Session) -> tuple[Record | Damaged | None, ...]:
            state = session.queue_state(self.name)
            return operations.get(session, state, ids) if state else (None,) * len(ids)

        return await self._store.read(query)

    async def find(self, filter: Filter, cursor: int, limit: int) -> Records:
        return await self._read(
            lambda session, state: operations.find(session, state, filter, cursor, limit), Records((), None)
        )

    async def stats(self) -> Stats:
        return await self._read(operations.stats, operations.no_stats())

    async def blocked_keys(self, cursor: str | None, limit: int, owner: str | None = None) -> BlockedKeys:
        return await self._read(
            lambda session, state: operations.blocked_keys(session, state, cursor, limit, owner), BlockedKeys((), None)
        )

    async def audit(self) -> Audit:
        return await self._read(audit, Audit((), 0))

    # ---- waiting ----

    async def wait(self, timeout: float) -> bool:
        self._store.poll_changes()
        return await self.waiters.wait(timeout)

    def expect(self, id: str) -> None:
        pass

    async def finished(self, id: str, timeout: float) -> Record | Damaged | None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            # Register before the read, so that an end between the read and the wait is not missed.
            with self.waiters.of_jobs.waiting(id) as waiter:
                self._store.poll_changes()
                (record,) = await self.get([id])
                if record is None:
                    raise JobNotFound(id, self.name)
                if isinstance(record, Damaged) or record.state.ended:
                    return record
                if not await waiter.within(max(0.0, end - loop.time())):
                    return None

    # ---- transactions ----

    async def _write(self, work: Callable[[Session, QueueState], R], default: R) -> R:
        """Run `work` in the writing thread; return `default` if there is no such queue."""

        def apply(session: Session) -> R:
            state = indexed(session, self.name)
            return work(session, state) if state else default

        return await self._store.write(apply)

    async def _read(self, query: Callable[[Session, QueueState], R], default: R) -> R:
        """Run `query` in the reading thread; if there are unindexed jobs, in the writing thread, which indexes them."""

        def apply(session: Session) -> tuple[bool, R]:
            state = session.queue_state(self.name)
            if state is not None and state.unindexed:
                return False, default
            return True, query(session, state) if state else default

        def index_and_query(session: Session, state: QueueState) -> R:
            session.update_heads(state)
            return query(session, state)

        done, result = await self._store.read(apply)
        return result if done else await self._write(index_and_query, default)


class QueueWaiters:
    """The waiters of one queue: for a claimable job, and for the ends of jobs."""

    def __init__(self) -> None:
        self.of_jobs = JobWaiters()
        """Waiters for the end of one job each."""
        self._idle: set[Waiter] = set()
        """Waiters for a claimable job."""
        self._changes = 0
        self._seen = 0
        """The number of changes that the last claim, or the last wait, has seen."""
        self._version = -1
        """The newest known version of the queue."""

    def __bool__(self) -> bool:
        return bool(self._idle or self.of_jobs)

    def begin_claim(self) -> None:
        """Note that a claim begins, which sees all changes so far."""
        self._seen = self._changes

    async def wait(self, timeout: float) -> bool:
        """Return True as soon as the queue has changed since the last claim began, False after `timeout` seconds."""
        if self._changes != self._seen:
            self._seen = self._changes
            return True
        waiter = Waiter()
        self._idle.add(waiter)
        try:
            woken = await waiter.within(timeout) is not None
        finally:
            self._idle.discard(waiter)
        if woken:
            self._seen = self._changes  # or the next wait would end at once, for the same changes
        return woken

    def update_version(self, version: int) -> bool:
        """Note that the queue has this version; return whether it is newer than the known one."""
        before, self._version = self._version, max(self._version, version)
        return -1 < before < version

    def notify_changed(self) -> None:
        """Wake the waiters for a claimable job."""
        self._changes += 1
        for waiter in self._idle:
            waiter.give(True)

    def notify_ended(self, id: str) -> None:
        """Wake the waiters for this job, which has ended or was removed."""
        self.of_jobs.give(id, True)

    def notify_any_ended(self) -> None:
        """Wake the waiters for all jobs: any of them may have ended."""
        self.of_jobs.give_all(True)
