"""
A queue in memory: the verbs of the backend protocol around a QueueState, each under one lock, without an await.

So it may be used from any number of threads and loops, a cancelled call has done all or nothing, and the transitions of
jobs (`fifoq_memory.queue_state`) need neither loops nor locks.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from threading import RLock
from types import CoroutineType
from typing import Any, TypeVar

from fifoq.clock import Clock, ProcessClock, SteppedClock, gained, run_on
from fifoq.errors import JobNotFound, OutcomeUnknown
from fifoq.queue import KEEP_REPLY, Audit, BlockedKeys, Call, Changed, PutReply, Setting, Stats
from fifoq.record import Claimed, Extension, Filter, Hold, JobSpec, Record, Records, Settlement, State
from fifoq_memory import claim, operations, put, settle
from fifoq_memory.audit import audit
from fifoq_memory.queue_state import QueueState

Waiter = asyncio.Future[Any]
A = TypeVar("A")
R = TypeVar("R")


# ---- waiters ----


class WakeUp:
    """Wakes all waiters, and counts, so that a waiter that registers late sees that it has missed a notification."""

    __slots__ = ("count", "waiters")

    def __init__(self) -> None:
        self.count = 0
        self.waiters: set[Waiter] = set()

    def notify(self) -> None:
        self.count += 1
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
            # The loop was closed since, and its waiters with it.
            continue


def resolve(waiter: Waiter, value: Any) -> None:
    """Give a waiter its value, unless it has one or was cancelled."""
    if not waiter.done():
        waiter.set_result(value)


async def value_within(waiter: Waiter, timeout: float) -> Any:
    """Return the value that the waiter gets within `timeout` seconds, or None."""
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


# ---- replies ----


class Replies:
    """The last reply of one verb to each caller."""

    __slots__ = ("_last", "_verb")

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._last: dict[str, tuple[int, Any, int]] = {}
        """By caller: the number of its last call, the reply, and when that was."""

    def recall(self, call: Call) -> Any:
        """Return the reply to a repeated call, or None to a new one. Raises OutcomeUnknown if it was overtaken."""
        caller, number = call
        known = self._last.get(caller)
        if known is None or number > known[0]:
            return None
        last, reply, _ = known
        if number == last:
            return reply
        raise OutcomeUnknown(
            f"This {self._verb} is call {call.number} of its caller, which has made call {last} since. Nothing "
            "was changed now; whether it took effect when it was first sent is not known any more. Look at the jobs."
        )

    def keep(self, call: Call, reply: Any, now: int) -> None:
        """Store the reply to a call in place of the caller's previous one."""
        caller, number = call
        self._last[caller] = number, reply, now

    def forget(self, now: int) -> None:
        """Drop replies older than KEEP_REPLY, in O(callers)."""
        old = [caller for caller, (_, _, at) in self._last.items() if at + KEEP_REPLY <= now]
        for caller in old:
            del self._last[caller]


# ---- the queue ----


class MemoryQueue:
    """A queue of a store: `fifoq.queue.Queue`. All backends of the store share this object."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.made = False
        """Whether the store has this queue: since its first put or configure."""
        self._clock = clock
        self._last = clock.now()
        self._offset = 0
        self._stepped = None if isinstance(clock, ProcessClock) else SteppedClock(clock)
        """The clock, if it may be set ahead."""
        self._lead = 0 if self._stepped is None else self._last - self._stepped.read()[1]
        # Re-entrant: the garbage collector may end an abandoned `wait` in the middle of another call.
        self._lock = RLock()
        self._state = QueueState()
        self._puts, self._claims, self._settles = Replies("put"), Replies("claim"), Replies("settle")
        self._wake_up = WakeUp()
        self._waiters: dict[str, list[Waiter]] = {}
        """The waiters for the end of a job, by its id."""

    # ---- put, claim, extend, settle ----

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        self.made = True
        return self._once(self._puts, call, put.put, batches)

    async def claim(
        self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int = 0
    ) -> Claimed:
        def apply(state: QueueState, now: int, tasks: Collection[str]) -> Claimed:
            terms = claim.Terms(f"{call.caller}.{call.number}.", worker, now, now + lease)
            claimed = claim.claim(state, terms, n, tasks)
            if state.notify and len(claimed.leases) < n and state.tasks.keys() <= frozenset(tasks):
                state.notify = False  # all that was claimable is leased
            return claimed

        return self._once(self._claims, call, apply, tasks)

    async def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        return self._change(lambda now: settle.extend(self._state, now, extensions))

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        # A worker claims in the turn in which it settles, and so may take what its settle has made claimable.
        return self._once(self._settles, call, settle.settle, settlements, self._notify_later)

    # ---- waiting ----

    def wait(self, timeout: float) -> "CoroutineType[Any, Any, bool]":  # not subscriptable before 3.13
        # Not `async def`: the count is read when `wait` is called, not when a loop first runs the coroutine, so that no
        # notification between the two is missed.
        return self._wait(self._wake_up.count, timeout)

    async def _wait(self, count: int, timeout: float) -> bool:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._wake_up.count != count:
                return True
            self._wake_up.waiters.add(waiter)
        try:
            return await value_within(waiter, timeout) is not None
        finally:
            with self._lock:
                self._wake_up.waiters.discard(waiter)

    def expect(self, id: str) -> None:
        pass

    async def finished(self, id: str, timeout: float) -> Record | None:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        with self._lock:
            job = self._state.jobs.get(id)
            if job is None:
                raise JobNotFound(id, self.name)
            if job.state.ended:
                return job.record()
            self._waiters.setdefault(id, []).append(waiter)
            self._state.awaited.add(id)
        try:
            return await value_within(waiter, timeout)
        finally:
            with self._lock:
                self._drop_waiter(id, waiter)

    def _drop_waiter(self, id: str, waiter: Waiter) -> None:
        waiters = self._waiters.get(id, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[id]
                self._state.awaited.discard(id)

    # ---- reading ----

    async def get(self, ids: Sequence[str]) -> tuple[Record | None, ...]:
        with self._lock:
            jobs = [self._state.jobs.get(id) for id in ids]
            return tuple([None if job is None else job.record() for job in jobs])

    async def find(self, filter: Filter, cursor: int, limit: int) -> Records:
        with self._lock:
            return operations.find(self._state, filter, cursor, limit)

    async def stats(self) -> Stats:
        with self._lock:
            now, _ = run_on(self._clock.now(), self._last, self._offset)
            return operations.stats(self._state, now)

    async def blocked_keys(self, cursor: str | None, limit: int, owner: str | None = None) -> BlockedKeys:
        with self._lock:
            return operations.blocked_keys(self._state, cursor, limit, owner)

    async def audit(self) -> Audit:
        with self._lock:
            return audit(self._state)

    # ---- operators ----

    async def cancel(self, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
        return self._change(lambda now: tuple([operations.cancel(self._state, now, id, reason) for id in ids]))

    async def requeue(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return self._change(lambda now: tuple([operations.requeue(self._state, id) for id in ids]))

    async def skip(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return self._change(lambda now: tuple([operations.skip(self._state, now, id) for id in ids]))

    async def configure(self, settings: Sequence[Setting]) -> None:
        def apply(now: int) -> None:
            self.made = True
            operations.configure(self._state, now, settings)

        self._change(apply)

    async def purge(self, limit: int) -> int:
        def apply(now: int) -> int:
            for replies in (self._puts, self._claims, self._settles):
                replies.forget(now)
            return operations.purge(self._state, now, limit)

        return self._change(apply)

    # ---- one call ----

    def _change(self, apply: Callable[[int], R]) -> R:
        """Apply a change at the store's time, and wake waiters."""
        with self._lock:
            reply = apply(self._tick())
            self._notify()
            return reply

    def _once(
        self,
        replies: Replies,
        call: Call,
        apply: Callable[[QueueState, int, A], R],
        argument: A,
        notify: Callable[[], None] | None = None,
    ) -> R:
        """Apply a call, or repeat its reply, or refuse it as overtaken; then wake waiters."""
        with self._lock:
            reply = replies.recall(call)
            if reply is None:
                now = self._tick()
                reply = apply(self._state, now, argument)
                replies.keep(call, reply, now)
                (notify or self._notify)()
            return reply

    def _tick(self) -> int:
        """Return the store's time, which never goes back."""
        if self._stepped is not None:
            return self._tick_stepped(self._stepped)
        now = self._clock.now()
        if self._offset == 0 and now >= self._last:  # the result of `run_on` as long as the clock is not set back
            self._last = now
        else:
            self._last, self._offset = run_on(now, self._last, self._offset)
        return self._last

    def _tick_stepped(self, clock: SteppedClock) -> int:
        """Do the same, and move leases along if the clock was set ahead: their holders have not had that time."""
        wall, monotonic = clock.read()
        self._last, self._offset = run_on(wall, self._last, self._offset)
        gain = gained(self._last, monotonic, self._lead)
        self._lead += gain
        if gain > 0:
            self._state.move_leases(gain)
        return self._last

    def _notify_later(self) -> None:
        """Wake the waiters at the end of this turn of the loop, for what no claim has taken until then."""
        state = self._state
        if state.ended_records or (state.notify and not self._wake_up.waiters):
            self._notify()
        elif state.notify:
            asyncio.get_running_loop().call_soon(self._notify_under_lock)

    def _notify_under_lock(self) -> None:
        with self._lock:
            self._notify()

    def _notify(self) -> None:
        """Wake the waiters for the changes of the last call."""
        state = self._state
        if state.notify:
            state.notify = False
            self._wake_up.notify()
        if state.ended_records:
            for record in state.ended_records:
                state.awaited.discard(record.spec.id)
                wake(self._waiters.pop(record.spec.id, ()), record)
            state.ended_records.clear()
