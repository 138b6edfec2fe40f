"""
The reference model: the docstrings of `fifoq.queue` as a program. A list of jobs, `min` by scan, no index.

It is slow on purpose: every answer is computed from the jobs alone, so it cannot share a bug with a backend's indexes.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from fifoq.clock import Clock, run_on
from fifoq.errors import OutcomeUnknown
from fifoq.queue import KEEP_REPLY, BlockedKeyRecord, Call, Changed, PutReply, Setting, Stats
from fifoq.record import Claimed, Extension, Filter, Hold, JobSpec, Record, Settlement, State
from fifoq.testing.model import claim, operations, put, settle
from fifoq.testing.model.queue_state import QueueState, fire

R = TypeVar("R")


class _LastReply(NamedTuple):
    number: int
    reply: Any
    at: int


class Model:
    """
    One queue by the contract: the methods of `fifoq.queue.Queue`, without waiting and without pages.

    `offset` is how far the store's time runs ahead of the clock, if the clock was set back before.
    """

    def __init__(self, clock: Clock, offset: int = 0) -> None:
        self.state = QueueState()
        self._clock = clock
        self._last = clock.now() + offset
        self._offset = offset
        self._replies: dict[tuple[str, str], _LastReply] = {}

    def now(self) -> int:
        """Return the store's time, as a call that only reads takes it."""
        return run_on(self._clock.now(), self._last, self._offset)[0]

    def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        def apply(now: int) -> tuple[PutReply, ...]:
            fire(self.state, now)
            return tuple(put.put(self.state, now, batch) for batch in batches)

        return self._once("put", call, apply)

    def claim(self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str]) -> Claimed:
        """Claim; `next_timer` is the earliest moment at which time changes anything: the lowest value allowed."""

        def apply(now: int) -> Claimed:
            fire(self.state, now)
            found = (claim.claim_one(self.state, now, call, worker, lease, tasks) for _ in range(n))
            leases = tuple(one for one in found if one)
            return Claimed(leases, next(iter(claim.moments(self.state, now)), None))

        return self._once("claim", call, apply)

    def soonest(self, tasks: Collection[str]) -> int | None:
        """Return the microseconds until time alone makes another job claimable: the highest `next_timer` allowed."""
        return claim.soonest(self.state, self.now(), tasks)

    def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        def apply(now: int) -> tuple[State | None, ...]:
            return tuple(settle.settle(self.state, now, one) for one in settlements)

        return self._once("settle", call, apply)

    def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        now = self._tick()
        return tuple(settle.extend(self.state, now, one) for one in extensions)

    def get(self, ids: Sequence[str]) -> tuple[Record | None, ...]:
        jobs = (self.state.job(id) for id in ids)
        return tuple(job and job.record() for job in jobs)

    def find(self, filter: Filter) -> tuple[Record, ...]:
        return operations.find(self.state, filter)

    def stats(self) -> Stats:
        return operations.stats(self.state, self.now())

    def blocked_keys(self, owner: str | None = None) -> list[BlockedKeyRecord]:
        return operations.blocked_keys(self.state, owner)

    def cancel(self, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
        now = self._tick()
        return tuple(operations.cancel(self.state, now, id, reason) for id in ids)

    def requeue(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        self._tick()
        return tuple(operations.requeue(self.state, id) for id in ids)

    def skip(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        now = self._tick()
        return tuple(operations.skip(self.state, now, id) for id in ids)

    def configure(self, settings: Sequence[Setting]) -> None:
        now = self._tick()
        for setting in settings:
            operations.configure(self.state, now, setting)

    def purge(self, limit: int) -> int:
        now = self._tick()
        self._replies = {caller: one for caller, one in self._replies.items() if one.at + KEEP_REPLY > now}
        return operations.purge(self.state, now, limit)

    def _tick(self) -> int:
        """Return the store's time, as a call that changes the queue takes it."""
        self._last, self._offset = run_on(self._clock.now(), self._last, self._offset)
        return self._last

    def _once(self, verb: str, call: Call, apply: Callable[[int], R]) -> R:
        """Apply a call, or repeat its reply, or refuse it as overtaken."""
        last = self._replies.get((verb, call.caller))
        if last and call.number < last.number:
            raise OutcomeUnknown(f"Call {call.number} of this caller was overtaken by its call {last.number}.")
        if last and call.number == last.number:
            return cast("R", last.reply)
        now = self._tick()
        reply = apply(now)
        self._replies[verb, call.caller] = _LastReply(call.number, reply, now)
        return reply
