"""
A queue in memory: the seam's verbs around a Book, each under one lock, none suspended on the way.

So it may be used from any number of threads and loops, a cancelled call has done all or nothing, and the moves
themselves (`fifoq_memory.book`) know nothing of loops and locks.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from threading import RLock
from types import CoroutineType
from typing import Any, TypeVar

from fifoq.clock import Clock, run_on
from fifoq.errors import JobNotFound, OutcomeUnknown
from fifoq.queue import KEEP_REPLY, Audit, BlockedKeys, Call, Changed, PutReply, Setting, Stats
from fifoq.record import Claimed, Extension, Filter, Hold, JobSpec, Record, Records, Settlement, State
from fifoq_memory import claim as claiming
from fifoq_memory import operations as looking
from fifoq_memory import operations as operating
from fifoq_memory import put as putting
from fifoq_memory import settle as settling
from fifoq_memory.audit import audit
from fifoq_memory.queue_state import QueueState

Waiter = asyncio.Future[Any]


class WakeUp:
    """Rings for all who wait, and counts, so that who comes late knows that it rang."""

    __slots__ = ("rings", "waiters")

    def __init__(self) -> None:
        self.rings = 0
        self.waiters: set[Waiter] = set()

    def ring(self) -> None:
        self.rings += 1
        if self.waiters:
            waiters, self.waiters = self.waiters, set()
            wake(waiters, True)


def wake(waiters: Iterable[Waiter], value: Any) -> None:
    """Give each waiter its value: at once if it is of the running loop, through its loop if it is of another."""
    here = _running_loop()
    for waiter in waiters:
        loop = waiter.get_loop()
        if loop is here:
            resolve(waiter, value)
            continue
        try:
            loop.call_soon_threadsafe(resolve, waiter, value)
        except RuntimeError:
            # The loop was closed since: nobody waits there any more.
            continue


def resolve(waiter: Waiter, value: Any) -> None:
    """Give a waiter its value, unless it has one or went away."""
    if not waiter.done():
        waiter.set_result(value)


async def within(waiter: Waiter, timeout: float) -> Any:
    """What the waiter is given within `timeout` seconds, or None."""
    timer = waiter.get_loop().call_later(timeout, resolve, waiter, None)
    try:
        return await waiter
    finally:
        timer.cancel()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Replies:
    """One verb's last replies."""

    __slots__ = ("_told", "_verb")

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._told: dict[str, tuple[int, Any, int]] = {}
        """By caller: the number of its last call, the reply, and when that was."""

    def recall(self, call: Call) -> Any:
        """Return the reply to a repeated call, or None to a new one. Raises OutcomeUnknown if it was overtaken."""
        caller, number = call
        told = self._told.get(caller)
        if told is None or number > told[0]:
            return None
        last, reply, _ = told
        if number == last:
            return reply
        raise OutcomeUnknown(
            f"This {self._verb} is call {call.number} of its caller, which has made call {last} since. Nothing "
            "was changed now; whether it took effect when it was first sent is not known any more. Look at the jobs."
        )

    def keep(self, call: Call, reply: Any, now: int) -> None:
        """Remember a call's reply instead of the caller's one before."""
        caller, number = call
        self._told[caller] = number, reply, now

    def forget(self, now: int) -> None:
        """Drop what is older than KEEP_REPLY, in O(callers)."""
        old = [caller for caller, (_, _, at) in self._told.items() if at + KEEP_REPLY <= now]
        for caller in old:
            del self._told[caller]


A = TypeVar("A")
R = TypeVar("R")


class MemoryQueue:
    """One named line of jobs of a store: `fifoq.queue.Queue`. All backends of the store have this same object."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.made = False
        """Whether the store has this queue: since its first put or configure."""
        self._clock = clock
        self._last = clock.now()
        self._offset = 0
        # Re-entrant: the garbage collector may end an abandoned `wait` in the middle of another call.
        self._lock = RLock()
        self._book = QueueState()
        self._puts, self._claims, self._settles = Replies("put"), Replies("claim"), Replies("settle")
        self._bell = WakeUp()
        self._watchers: dict[str, list[Waiter]] = {}
        """Those who wait for the end of each id."""

    # ---- jobs in, out and through

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        self.made = True
        return self._once(self._puts, call, putting.put, batches)

    async def claim(
        self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int = 0
    ) -> Claimed:
        def apply(book: QueueState, now: int, tasks: Collection[str]) -> Claimed:
            terms = claiming.Terms(f"{call.caller}.{call.number}.", worker, now, now + lease)
            return claiming.claim(book, terms, n, tasks)

        return self._once(self._claims, call, apply, tasks)

    async def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        return self._change(lambda now: settling.extend(self._book, now, extensions))

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        return self._once(self._settles, call, settling.settle, settlements)

    # ---- waiting

    def wait(self, timeout: float) -> "CoroutineType[Any, Any, bool]":  # not subscriptable before 3.13
        # Not `async def`: the call begins here, not when a loop first runs it, so what happens between is not missed.
        return self._wait(self._bell.rings, timeout)

    async def _wait(self, rings: int, timeout: float) -> bool:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._bell.rings != rings:
                return True
            self._bell.waiters.add(waiter)
        try:
            return await within(waiter, timeout) is not None
        finally:
            with self._lock:
                self._bell.waiters.discard(waiter)

    def expect(self, id: str) -> None:
        pass

    async def finished(self, id: str, timeout: float) -> Record | None:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        with self._lock:
            job = self._book.jobs.get(id)
            if job is None:
                raise JobNotFound(id, self.name)
            if job.state.ended:
                return job.record()
            self._watchers.setdefault(id, []).append(waiter)
            self._book.watched.add(id)
        try:
            return await within(waiter, timeout)
        finally:
            with self._lock:
                self._unwatch(id, waiter)

    def _unwatch(self, id: str, waiter: Waiter) -> None:
        waiters = self._watchers.get(id, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._watchers[id]
                self._book.watched.discard(id)

    # ---- looks

    async def get(self, ids: Sequence[str]) -> tuple[Record | None, ...]:
        with self._lock:
            jobs = [self._book.jobs.get(id) for id in ids]
            return tuple([None if job is None else job.record() for job in jobs])

    async def find(self, filter: Filter, cursor: int, limit: int) -> Records:
        with self._lock:
            return looking.find(self._book, filter, cursor, limit)

    async def stats(self) -> Stats:
        with self._lock:
            now, _ = run_on(self._clock.now(), self._last, self._offset)
            return looking.stats(self._book, now)

    async def blocked_keys(self, cursor: str | None, limit: int) -> BlockedKeys:
        with self._lock:
            return looking.blocked_keys(self._book, cursor, limit)

    async def audit(self) -> Audit:
        with self._lock:
            return audit(self._book)

    # ---- operators

    async def cancel(self, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
        return self._change(lambda now: tuple([operating.cancel(self._book, now, id, reason) for id in ids]))

    async def requeue(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return self._change(lambda now: tuple([operating.requeue(self._book, id) for id in ids]))

    async def skip(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return self._change(lambda now: tuple([operating.skip(self._book, now, id) for id in ids]))

    async def configure(self, settings: Sequence[Setting]) -> None:
        def apply(now: int) -> None:
            self.made = True
            operating.configure(self._book, now, settings)

        self._change(apply)

    async def purge(self, limit: int) -> int:
        def apply(now: int) -> int:
            for replies in (self._puts, self._claims, self._settles):
                replies.forget(now)
            return operating.purge(self._book, now, limit)

        return self._change(apply)

    # ---- what they are made of

    def _change(self, apply: Callable[[int], R]) -> R:
        """Apply a change at the store's time, and tell those who wait."""
        with self._lock:
            reply = apply(self._tick())
            self._tell()
            return reply

    def _once(self, replies: Replies, call: Call, apply: Callable[[QueueState, int, A], R], argument: A) -> R:
        """Apply a call, or repeat its reply, or refuse it as overtaken."""
        with self._lock:
            reply = replies.recall(call)
            if reply is None:
                now = self._tick()
                reply = apply(self._book, now, argument)
                replies.keep(call, reply, now)
                self._tell()
            return reply

    def _tick(self) -> int:
        """The store's time, which never goes back."""
        now = self._clock.now()
        if self._offset == 0 and now >= self._last:  # what `run_on` comes to while nobody sets the clock back
            self._last = now
        else:
            self._last, self._offset = run_on(now, self._last, self._offset)
        return self._last

    def _tell(self) -> None:
        """Wake who waits for what the book has just done."""
        book = self._book
        if book.roused:
            book.roused = False
            self._bell.ring()
        if book.seen:
            for record in book.seen:
                book.watched.discard(record.spec.id)
                wake(self._watchers.pop(record.spec.id, ()), record)
            book.seen.clear()
