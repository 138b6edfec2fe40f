"""One queue of a SQLite store: `fifoq.queue.Queue`. Each call is a piece of work in the writing or the reading lane."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Protocol, TypeVar

from fifoq.errors import JobNotFound
from fifoq.queue import Audit, BlockedKeys, Call, Changed, PutReply, Setting, Stats
from fifoq.record import Claimed, Extension, Filter, Hold, JobSpec, Record, Records, Settlement, State
from fifoq.waiters import JobWaiters, Waiter
from fifoq_sqlite import audit as auditing
from fifoq_sqlite import claim as claiming
from fifoq_sqlite import operations as looking
from fifoq_sqlite import operations as operating
from fifoq_sqlite import put as entering
from fifoq_sqlite import settle as settling
from fifoq_sqlite.queue_state import QueueState
from fifoq_sqlite.replies import once
from fifoq_sqlite.session import Session
from fifoq_sqlite.transitions import indexed, indexed_or_made


class Watch:
    """The calls that wait on one queue."""

    def __init__(self) -> None:
        self._changes = 0
        self._seen = 0
        self._version = -1
        """The newest version of the queue that was on_changes of."""
        self._idle: set[Waiter] = set()
        self.ends = JobWaiters()
        """They ring once a job may have ended."""

    @property
    def waiting(self) -> bool:
        """Whether anybody waits."""
        return bool(self._idle or self.ends)

    def claiming(self) -> None:
        """A claim begins: it will see what has changed so far."""
        self._seen = self._changes

    async def change(self, timeout: float) -> bool:
        """Return True as soon as something has changed since the last claim began, False after `timeout` seconds."""
        if self._changes != self._seen:
            self._seen = self._changes
            return True
        ring = Waiter()
        self._idle.add(ring)
        try:
            return await ring.within(timeout) is not None
        finally:
            self._idle.discard(ring)

    def know(self, version: int) -> bool:
        """The queue has come to this version; return whether that is changes."""
        before, self._version = self._version, max(self._version, version)
        return -1 < before < version

    def changed(self) -> None:
        """Something may have become claimable."""
        self._changes += 1
        for ring in self._idle:
            ring.give(True)

    def ended(self, id: str) -> None:
        """This job has ended, or was removed."""
        self.ends.give(id, True)

    def anything_ended(self) -> None:
        """Any job may have: look again."""
        self.ends.give_all(True)


A = TypeVar("A")
R = TypeVar("R")


class Store(Protocol):
    """What a queue needs of its backend."""

    def write(self, work: Callable[[Session], R], *, at_once: bool = False) -> Awaitable[R]: ...

    def read(self, work: Callable[[Session], R]) -> Awaitable[R]: ...

    def watching(self) -> None:
        """Somebody waits: look for changes whose hints were lost."""
        ...


class SqliteQueue:
    """One named line of jobs in a file."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self.watch = Watch()
        self._store = store

    # ---- calls that are remembered

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        # Whoever has more to put has put it into this call: there is nothing to wait for.
        return await self._store.write(partial(once, self.name, "put", call, entering.put, batches), at_once=True)

    async def claim(
        self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int = 0
    ) -> Claimed:
        self.watch.claiming()
        return await self._once("claim", call, claiming.claim, claiming.Terms(worker, n, lease, tasks))

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        return await self._once("settle", call, settling.settle, settlements)

    def _once(self, verb: str, call: Call, apply: Callable[[Session, str, Call, A], R], what: A) -> Awaitable[R]:
        return self._store.write(partial(once, self.name, verb, call, apply, what))

    # ---- calls that may be repeated

    async def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        return await self._write(
            lambda session, state: settling.extend(session, state, extensions), (Hold.LOST,) * len(extensions)
        )

    async def cancel(self, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
        return await self._write(
            lambda session, state: operating.cancel(session, state, ids, reason), (Changed(None, False),) * len(ids)
        )

    async def requeue(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return await self._write(
            lambda session, state: operating.requeue(session, state, ids), (Changed(None, False),) * len(ids)
        )

    async def skip(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return await self._write(
            lambda session, state: operating.skip(session, state, ids), (Changed(None, False),) * len(ids)
        )

    async def configure(self, settings: Sequence[Setting]) -> None:
        await self._store.write(
            lambda session: operating.configure(session, indexed_or_made(session, self.name), settings)
        )

    async def purge(self, limit: int) -> int:
        return await self._write(lambda session, state: operating.purge(session, state, limit), 0)

    # ---- looks

    async def get(self, ids: Sequence[str]) -> tuple[Record | None, ...]:
        def look(session: Session) -> tuple[Record | None, ...]:
            state = session.queue_state(self.name)
            return looking.get(session, state, ids) if state else (None,) * len(ids)

        return await self._store.read(look)

    async def find(self, filter: Filter, cursor: int, limit: int) -> Records:
        return await self._read(
            lambda session, state: looking.find(session, state, filter, cursor, limit), Records((), None)
        )

    async def stats(self) -> Stats:
        return await self._read(looking.stats, looking.no_stats())

    async def blocked_keys(self, cursor: str | None, limit: int) -> BlockedKeys:
        return await self._read(
            lambda session, state: looking.blocked_keys(session, state, cursor, limit), BlockedKeys((), None)
        )

    async def audit(self) -> Audit:
        return await self._read(auditing.audit, Audit((), 0))

    # ---- waiting

    async def wait(self, timeout: float) -> bool:
        self._store.watching()
        return await self.watch.change(timeout)

    def expect(self, id: str) -> None:
        pass

    async def finished(self, id: str, timeout: float) -> Record | None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            # Listen before looking: what ends in between is on_changes of.
            with self.watch.ends.waiting(id) as ring:
                self._store.watching()
                (record,) = await self.get([id])
                if record is None:
                    raise JobNotFound(id, self.name)
                if record.state.ended:
                    return record
                if not await ring.within(max(0.0, end - loop.time())):
                    return None

    async def _write(self, work: Callable[[Session, QueueState], R], otherwise: R) -> R:
        def apply(session: Session) -> R:
            state = indexed(session, self.name)
            return work(session, state) if state else otherwise

        return await self._store.write(apply)

    async def _read(self, look: Callable[[Session, QueueState], R], otherwise: R) -> R:
        def apply(session: Session) -> tuple[bool, R]:
            state = session.queue_state(self.name)
            if state is not None and state.unindexed:
                return False, otherwise
            return True, look(session, state) if state else otherwise

        def index_and_look(session: Session, state: QueueState) -> R:
            session.show(state)
            return look(session, state)

        seen, found = await self._store.read(apply)
        # What is not filed yet can be seen by whoever may file it.
        return found if seen else await self._write(index_and_look, otherwise)
