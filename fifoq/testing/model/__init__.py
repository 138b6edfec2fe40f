"""
The reference model: the docstrings of `fifoq.queue`, executable. A list of jobs, `min` by scan, and nothing clever.

It is slow on purpose: every answer is computed from the jobs alone, so it cannot share a bug with a backend's indexes.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from fifoq.clock import Clock, run_on
from fifoq.errors import OutcomeUnknown
from fifoq.queue import KEEP_REPLY, BlockedKeyRecord, Call, Changed, PutReply, Setting, Stats
from fifoq.record import Claimed, Extension, Filter, Hold, JobSpec, Record, Settlement, State
from fifoq.testing.model import claiming, entering, looking, operating, settling
from fifoq.testing.model.book import Book
from fifoq.testing.model.timing import fire

R = TypeVar("R")


class _Remembered(NamedTuple):
    number: int
    reply: Any
    at: int


class Model:
    """
    One queue as the contract has it: the methods of `fifoq.queue.Queue`, without waiting and without pages.

    `offset` is how far the store's time runs ahead of the clock, if the clock was set back before.
    """

    def __init__(self, clock: Clock, offset: int = 0) -> None:
        self.book = Book()
        self._clock = clock
        self._last = clock.now() + offset
        self._offset = offset
        self._replies: dict[tuple[str, str], _Remembered] = {}

    def now(self) -> int:
        """The store's time, as a call that only looks reads it."""
        return run_on(self._clock.now(), self._last, self._offset)[0]

    def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        def apply(now: int) -> tuple[PutReply, ...]:
            fire(self.book, now)
            return tuple(entering.put(self.book, now, batch) for batch in batches)

        return self._once("put", call, apply)

    def claim(self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str]) -> Claimed:
        """`next_timer` is the earliest moment at which time changes anything: as early as it may be."""

        def apply(now: int) -> Claimed:
            fire(self.book, now)
            found = (claiming.claim_one(self.book, now, call, worker, lease, tasks) for _ in range(n))
            leases = tuple(one for one in found if one)
            return Claimed(leases, next(iter(claiming.moments(self.book, now)), None))

        return self._once("claim", call, apply)

    def soonest(self, tasks: Collection[str]) -> int | None:
        """Microseconds until time alone makes another job claimable: the latest that `next_timer` may say."""
        return claiming.soonest(self.book, self.now(), tasks)

    def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        def apply(now: int) -> tuple[State | None, ...]:
            return tuple(settling.settle(self.book, now, one) for one in settlements)

        return self._once("settle", call, apply)

    def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        now = self._tick()
        return tuple(settling.extend(self.book, now, one) for one in extensions)

    def get(self, ids: Sequence[str]) -> tuple[Record | None, ...]:
        items = (self.book.item(id) for id in ids)
        return tuple(item and item.record() for item in items)

    def find(self, filter: Filter) -> tuple[Record, ...]:
        return looking.find(self.book, filter)

    def stats(self) -> Stats:
        return looking.stats(self.book, self.now())

    def blocked_keys(self) -> list[BlockedKeyRecord]:
        return looking.blocked_keys(self.book)

    def cancel(self, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
        now = self._tick()
        return tuple(operating.cancel(self.book, now, id, reason) for id in ids)

    def requeue(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        self._tick()
        return tuple(operating.requeue(self.book, id) for id in ids)

    def skip(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        now = self._tick()
        return tuple(operating.skip(self.book, now, id) for id in ids)

    def configure(self, settings: Sequence[Setting]) -> None:
        now = self._tick()
        for setting in settings:
            operating.configure(self.book, now, setting)

    def purge(self, limit: int) -> int:
        now = self._tick()
        self._replies = {who: one for who, one in self._replies.items() if one.at + KEEP_REPLY > now}
        return operating.purge(self.book, now, limit)

    def _tick(self) -> int:
        """The store's time, as a call that changes something reads it."""
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
        self._replies[verb, call.caller] = _Remembered(call.number, reply, now)
        return reply
