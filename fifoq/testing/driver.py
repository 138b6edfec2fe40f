"""
One caller at one queue, without `await`: what the kit's cases are written with.

It owns an event loop, numbers its calls, and fills in what a case does not care about.
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
"""What the fixture `make_backend` returns: another unopened backend on the same store at each call."""

LEASE = 15 * SECOND
TASK = "task"
KEPT = 3_600 * SECOND
"""How long the cases keep ended jobs unless they say otherwise: longer than any of them lasts."""

_numbers = itertools.count(1)


def spec(key: str | None = None, *, id: str | None = None, task: str = TASK, **rest: Any) -> JobSpec:
    """A job to put. `delay` and `expires` are in seconds here; the rest is as in JobSpec."""
    for name in ("delay", "expires"):
        if rest.get(name) is not None:
            rest[name] = microseconds(rest[name])
    return JobSpec(id or f"job-{next(_numbers)}", task, rest.pop("payload", b"\x00"), key, **rest)


class Driver:
    """
    Drives one queue of one opened backend, from one thread.

    `put` and `claim` take and give jobs by id, so that a case reads as the order that it asserts; the `*_reply` forms
    give what the seam gave. Durations are in seconds.
    """

    def __init__(self, backend: Backend, name: str = "queue") -> None:
        self.backend = backend
        self.caller = uuid4().hex
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._others: list[Driver] = []
        self.run(backend.open())
        self.queue: Queue = backend.queue(name)

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run one coroutine to its end on this driver's loop."""
        return self._loop.run_until_complete(coroutine)

    def twin(self) -> "Driver":
        """Another driver of the same queue, on another backend of the same store."""
        return self.beside(self.queue.name)

    def beside(self, name: str) -> "Driver":
        """A driver of another queue of the same store, with its own backend and loop."""
        self._others.append(Driver(self.backend.twin(), name))
        return self._others[-1]

    def reopen(self) -> None:
        """Close the backend and open it again."""
        name = self.queue.name
        self.run(self.backend.close())
        self.run(self.backend.open())
        self.queue = self.backend.queue(name)

    def close(self) -> None:
        """Close the backend and the loop, and those of all twins."""
        for other in self._others:
            other.close()
        if not self._loop.is_closed():
            self.run(self.backend.close())
            self._loop.close()

    def call(self) -> Call:
        """The identity of the next call."""
        return Call(self.caller, next(self._numbers))

    # ---- jobs in

    def put(self, *specs: JobSpec) -> list[str]:
        """Enter one batch that must be taken; return the ids of its receipts."""
        return [receipt.id for receipt in self.receipts(*specs)]

    def receipts(self, *specs: JobSpec) -> tuple[Receipt, ...]:
        """Enter one batch that must be taken."""
        (reply,) = self.put_batches(specs)
        assert not isinstance(reply, Full | Conflict), f"refused: {reply!r}"
        return reply

    def put_reply(self, *specs: JobSpec) -> PutReply:
        """Enter one batch, or be refused."""
        return self.put_batches(specs)[0]

    def put_batches(self, *batches: Sequence[JobSpec], call: Call | None = None) -> tuple[PutReply, ...]:
        return self.run(self.queue.put(call or self.call(), batches))

    # ---- leases

    def claim(self, n: int = 1, **rest: Any) -> list[str]:
        """Claim up to `n` jobs and return their ids."""
        return [lease.spec.id for lease in self.leases(n, **rest)]

    def leases(self, n: int = 1, **rest: Any) -> tuple[Lease, ...]:
        return self.claim_reply(n, **rest).leases

    def lease(self, **rest: Any) -> Lease:
        """Claim one job that must be there."""
        leases = self.leases(1, **rest)
        assert leases, "no job was claimed"
        return leases[0]

    def claim_reply(
        self,
        n: int = 1,
        *,
        tasks: Collection[str] = (TASK,),
        lease: int = LEASE,
        worker: str = "worker",
        call: Call | None = None,
        ahead: int = 0,
    ) -> Claimed:
        return self.run(self.queue.claim(call or self.call(), worker, n, lease, tasks, ahead))

    def extend(self, lease: Lease, seconds: float = 15, progress: bytes | None = None) -> Hold:
        extension = Extension(lease.spec.id, lease.token, microseconds(seconds), progress)
        return self.run(self.queue.extend([extension]))[0]

    def settle(self, lease: Lease, outcome: Outcome, call: Call | None = None) -> State | None:
        settlement = Settlement(lease.spec.id, lease.token, outcome)
        return self.run(self.queue.settle(call or self.call(), [settlement]))[0]

    def succeed(self, lease: Lease, retain: int = KEPT) -> State | None:
        return self.settle(lease, Succeed(b"result", retain))

    def fail(self, lease: Lease, *, halt: bool = False, retain: int = KEPT) -> State | None:
        return self.settle(lease, Fail(b"error", halt, retain))

    def retry(self, lease: Lease, after: float = 0, retain: int = KEPT) -> State | None:
        return self.settle(lease, Retry(microseconds(after), b"error", retain))

    def release(self, lease: Lease, after: float = 0, retain: int = KEPT) -> State | None:
        return self.settle(lease, Release(microseconds(after), retain))

    def end_cancelled(self, lease: Lease, reason: str = "asked", retain: int = KEPT) -> State | None:
        return self.settle(lease, Cancel(reason, retain))

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

    # ---- operators

    def cancel(self, *ids: str, reason: str = "asked") -> list[Changed]:
        return list(self.run(self.queue.cancel(ids, reason)))

    def requeue(self, *ids: str) -> list[Changed]:
        return list(self.run(self.queue.requeue(ids)))

    def skip(self, *ids: str) -> list[Changed]:
        return list(self.run(self.queue.skip(ids)))

    def configure(self, *settings: Setting) -> None:
        self.run(self.queue.configure(settings))

    def declare(self, task: str | None = None, **settings: Any) -> None:
        """Declare limits, rates and capacities, in the words of `GateSettings.of`."""
        self.configure(_Declare(task, GateSettings.of(**settings)))

    def override(self, task: str | None = None, **settings: Any) -> None:
        """Override all settings of a gate; nothing given lifts the override."""
        self.configure(_Override(task, GateSettings.of(**settings) if settings else None))

    def pause(self, task: str | None = None, key: str | None = None) -> None:
        self.configure(Pause(task, key))

    def resume(self, task: str | None = None, key: str | None = None) -> None:
        self.configure(Resume(task, key))

    def purge(self, limit: int = 1_000) -> int:
        return self.run(self.queue.purge(limit))

    # ---- looks

    def get(self, id: str) -> Record | None:
        return self.run(self.queue.get([id]))[0]

    def record(self, id: str) -> Record:
        """The record of a job that must be there."""
        record = self.get(id)
        assert record is not None, f"{id} is gone"
        return record

    def states(self, *ids: str) -> list[State | None]:
        return [record and record.state for record in self.run(self.queue.get(ids))]

    def find(self, filter: Filter | None = None, limit: int = 100) -> list[Record]:
        """All matching records, page by page."""
        records: list[Record] = []
        cursor: int | None = 0
        while cursor is not None:
            page = self.run(self.queue.find(filter or Filter(), cursor, limit))
            assert len(page.records) <= limit, f"a page of {limit} has {len(page.records)} records"
            assert page.cursor is None or page.cursor > cursor, "the cursor does not move on"
            records += page.records
            cursor = page.cursor
        return records

    def blocked(self, limit: int = 100) -> list[BlockedKeyRecord]:
        """All blocked keys, page by page."""
        keys: list[BlockedKeyRecord] = []
        cursor: str | None = None
        while True:
            page = self.run(self.queue.blocked_keys(cursor, limit))
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
