"""
Drivers: one caller at one queue, with numbered calls and a default for each argument that a case leaves out.

`Driver` is for cases without `await`: it opens a backend and owns an event loop. `AsyncDriver` is for cases that run on
a loop.
"""

import asyncio
import itertools
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, TypeVar
from uuid import uuid4

from fifoq.clock import SECOND, Clock, microseconds
from fifoq.limits import GateSettings
from fifoq.queue import (
    Audit,
    Backend,
    BlockedKeyRecord,
    Call,
    Changed,
    Conflict,
    Full,
    Pause,
    PutReply,
    Queue,
    Receipt,
    Resume,
    Setting,
    Stats,
)
from fifoq.queue import Declare as _Declare
from fifoq.queue import Override as _Override
from fifoq.record import (
    Cancel,
    Claimed,
    Damaged,
    Extension,
    Fail,
    Filter,
    Hold,
    JobSpec,
    Lease,
    Outcome,
    Record,
    Release,
    Retry,
    Settlement,
    State,
    Succeed,
)

R = TypeVar("R")
MakeBackend = Callable[[Clock | None], Backend]
"""The fixture `make_backend`: it returns another unopened backend on the same store at each call."""

LEASE = 15 * SECOND
TASK = "task"
KEPT = 3_600 * SECOND
"""The default retention of ended jobs in the cases: longer than any case lasts."""

_numbers = itertools.count(1)


def spec(key: str | None = None, *, id: str | None = None, task: str = TASK, **rest: Any) -> JobSpec:
    """Return a job to put. `delay` and `expires` are in seconds here; the other fields are those of JobSpec."""
    for name in ("delay", "expires"):
        if rest.get(name) is not None:
            rest[name] = microseconds(rest[name])
    return JobSpec(id or f"job-{next(_numbers)}", task, rest.pop("payload", b"\x00"), key, **rest)


def readable(found: Record | Damaged) -> Record:
    """Return the record of a job that must not be damaged."""
    assert isinstance(found, Record), str(found)
    return found


class AsyncDriver:
    """
    The numbered calls of one caller at one queue: put, claim and settle.

    `put` and `claim` accept and return jobs by id, so that a case reads as the order that it asserts; the `*_reply`
    forms return the replies of the backend. Durations are in seconds, those of leases and of retention in microseconds.
    The other verbs of a queue have no number: a case calls them on `queue`.
    """

    def __init__(self, queue: Queue, *, caller: str | None = None, retain: int = KEPT) -> None:
        self.queue = queue
        self.caller = caller or uuid4().hex
        self.retain = retain
        """How long ended jobs are kept if a call has no `retain`."""
        self._numbers = itertools.count(1)

    def call(self) -> Call:
        """Return the identity of the next call."""
        return Call(self.caller, next(self._numbers))

    # ---- put ----

    async def put(self, *specs: JobSpec) -> list[str]:
        """Put one batch that must be accepted; return the ids of its receipts."""
        return [receipt.id for receipt in await self.receipts(*specs)]

    async def receipts(self, *specs: JobSpec) -> tuple[Receipt, ...]:
        """Put one batch that must be accepted."""
        reply = await self.put_reply(*specs)
        assert not isinstance(reply, Full | Conflict), f"refused: {reply!r}"
        return reply

    async def put_reply(self, *specs: JobSpec) -> PutReply:
        """Put one batch that may be refused."""
        (reply,) = await self.put_batches(specs)
        return reply

    async def put_batches(self, *batches: Sequence[JobSpec], call: Call | None = None) -> tuple[PutReply, ...]:
        return await self.queue.put(call or self.call(), batches)

    # ---- claim and settle ----

    async def claim(self, n: int = 1, **rest: Any) -> list[str]:
        """Claim up to `n` jobs and return their ids."""
        return [lease.spec.id for lease in await self.leases(n, **rest)]

    async def leases(self, n: int = 1, **rest: Any) -> tuple[Lease, ...]:
        return (await self.claim_reply(n, **rest)).leases

    async def lease(self, **rest: Any) -> Lease:
        """Claim one job that must be there."""
        leases = await self.leases(1, **rest)
        assert leases, "no job was claimed"
        return leases[0]

    async def claim_reply(
        self,
        n: int = 1,
        *,
        tasks: Collection[str] = (TASK,),
        lease: int = LEASE,
        worker: str = "worker",
        call: Call | None = None,
        ahead: int = 0,
    ) -> Claimed:
        return await self.queue.claim(call or self.call(), worker, n, lease, tasks, ahead)

    async def settle(self, lease: Lease, outcome: Outcome, call: Call | None = None) -> State | None:
        settlement = Settlement(lease.spec.id, lease.token, outcome)
        return (await self.queue.settle(call or self.call(), [settlement]))[0]

    async def succeed(self, lease: Lease, retain: int | None = None) -> State | None:
        return (await self.succeed_all(lease, retain=retain))[0]

    async def succeed_all(self, *leases: Lease, retain: int | None = None) -> tuple[State | None, ...]:
        """Let all these jobs succeed in one call."""
        outcome = Succeed(b"result", self._retain(retain))
        return await self.queue.settle(
            self.call(), [Settlement(lease.spec.id, lease.token, outcome) for lease in leases]
        )

    async def fail(self, lease: Lease, *, halt: bool = False, retain: int | None = None) -> State | None:
        return await self.settle(lease, Fail(b"error", halt, self._retain(retain)))

    async def retry(self, lease: Lease, after: float = 0, retain: int | None = None) -> State | None:
        return await self.settle(lease, Retry(microseconds(after), b"error", self._retain(retain)))

    async def release(self, lease: Lease, after: float = 0, retain: int | None = None) -> State | None:
        return await self.settle(lease, Release(microseconds(after), self._retain(retain)))

    async def end_cancelled(self, lease: Lease, reason: str = "asked", retain: int | None = None) -> State | None:
        return await self.settle(lease, Cancel(reason, self._retain(retain)))

    def _retain(self, retain: int | None) -> int:
        return self.retain if retain is None else retain


class Driver:
    """
    One caller at one queue of one opened backend, without `await`, from one thread.

    It has the verbs of `AsyncDriver`, those of operators and those that read. Durations are in seconds.
    """

    def __init__(self, backend: Backend, name: str = "queue") -> None:
        self.backend = backend
        self._loop = asyncio.new_event_loop()
        self._others: list[Driver] = []
        self.run(backend.open())
        self._calls = AsyncDriver(backend.queue(name))
        self.caller = self._calls.caller

    @property
    def queue(self) -> Queue:
        return self._calls.queue

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run one coroutine to its end on this driver's loop."""
        return self._loop.run_until_complete(coroutine)

    def twin(self) -> "Driver":
        """Return another driver of the same queue, on another backend of the same store."""
        return self.beside(self.queue.name)

    def beside(self, name: str) -> "Driver":
        """Return a driver of another queue of the same store, with its own backend and loop."""
        self._others.append(Driver(self.backend.twin(), name))
        return self._others[-1]

    def reopen(self) -> None:
        """Close the backend and open it again."""
        name = self.queue.name
        self.run(self.backend.close())
        self.run(self.backend.open())
        self._calls.queue = self.backend.queue(name)

    def close(self) -> None:
        """Close the backend and the loop, and those of all twins."""
        for other in self._others:
            other.close()
        if not self._loop.is_closed():
            self.run(self.backend.close())
            self._loop.close()

    def call(self) -> Call:
        """Return the identity of the next call."""
        return self._calls.call()

    # ---- put ----

    def put(self, *specs: JobSpec) -> list[str]:
        """Put one batch that must be accepted; return the ids of its receipts."""
        return self.run(self._calls.put(*specs))

    def receipts(self, *specs: JobSpec) -> tuple[Receipt, ...]:
        """Put one batch that must be accepted."""
        return self.run(self._calls.receipts(*specs))

    def put_reply(self, *specs: JobSpec) -> PutReply:
        """Put one batch that may be refused."""
        return self.run(self._calls.put_reply(*specs))

    def put_batches(self, *batches: Sequence[JobSpec], call: Call | None = None) -> tuple[PutReply, ...]:
        return self.run(self._calls.put_batches(*batches, call=call))

    # ---- claim, extend and settle ----

    def claim(self, n: int = 1, **rest: Any) -> list[str]:
        """Claim up to `n` jobs and return their ids."""
        return self.run(self._calls.claim(n, **rest))

    def leases(self, n: int = 1, **rest: Any) -> tuple[Lease, ...]:
        return self.run(self._calls.leases(n, **rest))

    def lease(self, **rest: Any) -> Lease:
        """Claim one job that must be there."""
        return self.run(self._calls.lease(**rest))

    def claim_reply(self, n: int = 1, **rest: Any) -> Claimed:
        """Claim with the arguments of `AsyncDriver.claim_reply`."""
        return self.run(self._calls.claim_reply(n, **rest))

    def extend(self, lease: Lease, seconds: float = 15, progress: bytes | None = None) -> Hold:
        extension = Extension(lease.spec.id, lease.token, microseconds(seconds), progress)
        return self.run(self.queue.extend([extension]))[0]

    def settle(self, lease: Lease, outcome: Outcome, call: Call | None = None) -> State | None:
        return self.run(self._calls.settle(lease, outcome, call))

    def succeed(self, lease: Lease, retain: int = KEPT) -> State | None:
        return self.run(self._calls.succeed(lease, retain))

    def fail(self, lease: Lease, *, halt: bool = False, retain: int = KEPT) -> State | None:
        return self.run(self._calls.fail(lease, halt=halt, retain=retain))

    def retry(self, lease: Lease, after: float = 0, retain: int = KEPT) -> State | None:
        return self.run(self._calls.retry(lease, after, retain))

    def release(self, lease: Lease, after: float = 0, retain: int = KEPT) -> State | None:
        return self.run(self._calls.release(lease, after, retain))

    def end_cancelled(self, lease: Lease, reason: str = "asked", retain: int = KEPT) -> State | None:
        return self.run(self._calls.end_cancelled(lease, reason, retain))

    def work(self, n: int = 1, **rest: Any) -> list[str]:
        """Claim up to `n` jobs, let each succeed, and return their ids."""
        leases = self.leases(n, **rest)
        for lease in leases:
            assert self.succeed(lease) is State.SUCCEEDED
        return [lease.spec.id for lease in leases]

    def drain(self, **rest: Any) -> list[str]:
        """Work one job after another until none may run; return their ids, in that order."""
        done: list[str] = []
        while ids := self.work(1, **rest):
            done += ids
        return done

    # ---- operators ----

    def cancel(self, *ids: str, reason: str = "asked") -> list[Changed]:
        return list(self.run(self.queue.cancel(ids, reason)))

    def requeue(self, *ids: str) -> list[Changed]:
        return list(self.run(self.queue.requeue(ids)))

    def skip(self, *ids: str) -> list[Changed]:
        return list(self.run(self.queue.skip(ids)))

    def configure(self, *settings: Setting) -> None:
        self.run(self.queue.configure(settings))

    def declare(self, task: str | None = None, **settings: Any) -> None:
        """Declare limits, rates and capacities, with the keywords of `GateSettings.of`."""
        self.configure(_Declare(task, GateSettings.of(**settings)))

    def override(self, task: str | None = None, **settings: Any) -> None:
        """Override all settings of a gate. Without settings it lifts the override."""
        self.configure(_Override(task, GateSettings.of(**settings) if settings else None))

    def pause(self, task: str | None = None, key: str | None = None) -> None:
        self.configure(Pause(task, key))

    def resume(self, task: str | None = None, key: str | None = None) -> None:
        self.configure(Resume(task, key))

    def purge(self, limit: int = 1_000) -> int:
        return self.run(self.queue.purge(limit))

    # ---- reading ----

    def get(self, id: str) -> Record | None:
        (found,) = self.run(self.queue.get([id]))
        return None if found is None else readable(found)

    def record(self, id: str) -> Record:
        """Return the record of a job that must be there."""
        record = self.get(id)
        assert record is not None, f"{id} is gone"
        return record

    def states(self, *ids: str) -> list[State | None]:
        return [found and readable(found).state for found in self.run(self.queue.get(ids))]

    def find(self, filter: Filter | None = None, limit: int = 100) -> list[Record]:
        """Return all matching records, read page by page."""
        records: list[Record] = []
        cursor: int | None = 0
        while cursor is not None:
            page = self.run(self.queue.find(filter or Filter(), cursor, limit))
            assert len(page.records) <= limit, f"a page of {limit} has {len(page.records)} records"
            assert page.cursor is None or page.cursor > cursor, "the cursor does not move on"
            records += map(readable, page.records)
            cursor = page.cursor
        return records

    def blocked(self, limit: int = 100, owner: str | None = None) -> list[BlockedKeyRecord]:
        """Return all blocked keys, or those of an owner's jobs, read page by page."""
        keys: list[BlockedKeyRecord] = []
        cursor: str | None = None
        while True:
            page = self.run(self.queue.blocked_keys(cursor, limit, owner))
            assert len(page.keys) <= limit, f"a page of {limit} has {len(page.keys)} keys"
            keys += page.keys
            assert page.cursor is None or page.cursor != cursor, "the cursor does not move on"
            if page.cursor is None:
                return keys
            cursor = page.cursor

    def stats(self) -> Stats:
        return self.run(self.queue.stats())

    def audit(self) -> Audit:
        return self.run(self.queue.audit())
