"""
Claims from one queue, claims that the server makes ahead, and waiting for claimable jobs.

A claim that leaves room registers its backend as a waiter, and lets the server make the next claim ahead: a put then
leases its jobs in the same step, and notifies the waiter. `wait` ends, and the next claim has its reply without a call.
"""

import asyncio
import time
from collections.abc import Awaitable, Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from types import coroutine
from typing import Any, NamedTuple

from fifoq.errors import FifoqError, OutcomeUnknown
from fifoq.queue import Call
from fifoq.record import Claimed
from fifoq.waiters import Waiter
from fifoq_redis import encoding, pubsub
from fifoq_redis.encoding import ClaimReply, unpack
from fifoq_redis.keys import Keys
from fifoq_redis.opening import OpenStore

CLAIMS_WITHIN, CLAIM_TAKES = 0.002, 0.02
"""Seconds within which a notified worker claims, and within which the reply to a claim has mostly come."""


# ---- waiters ----


class ClaimWaiters:
    """The waiters for claimable jobs of one queue on one loop, and the state of their registration at the server."""

    def __init__(self) -> None:
        self.version = -1
        """The version of the queue as of the last claim or registration."""
        self.tasks = b""
        """The tasks of the last claim, each between zero bytes."""
        self.may_be_registered = False
        """The server may have this backend among its waiters."""
        self.notifications = 0
        """The number of notifications received."""
        self.waiters: set[Waiter] = set()
        self._registered_until = 0.0

    @property
    def registered(self) -> bool:
        """Whether the server has this backend among its waiters, since QUERY_AFTER seconds at most."""
        return asyncio.get_running_loop().time() < self._registered_until

    @registered.setter
    def registered(self, registered: bool) -> None:
        self._registered_until = asyncio.get_running_loop().time() + pubsub.QUERY_AFTER if registered else 0.0

    def note_version(self, version: int) -> bool:
        """Store the version of the queue; return whether it has changed."""
        before, self.version = self.version, version
        return before != version

    @contextmanager
    def waiting(self) -> "Generator[Waiter]":
        """A waiter for a claimable job, for a block."""
        waiter = Waiter()
        self.waiters.add(waiter)
        try:
            yield waiter
        finally:
            self.waiters.discard(waiter)

    def notify(self) -> bool:
        """Wake all waiters, since a job may be claimable; return whether there are any."""
        self.notifications += 1
        self.registered = False
        for waiter in self.waiters:
            waiter.give(True)
        return bool(self.waiters)


# ---- claims made ahead ----


class ClaimAhead:
    """
    The claims of one caller, and whether the server may make the next one ahead.

    The notification of a claim made ahead may take long, or wait for a busy loop. So its leases count from the moment
    at which the claim was left with the server.
    """

    __slots__ = ("_granted", "_left_since", "_number", "_sent", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        """When the leases of the newest call begin (`time.monotonic()`), if the server may have made it ahead."""
        self._number = 0
        self._sent = 0.0
        self._left_since: float | None = None
        self._granted: tuple[int, bytes] = (0, b"")

    @property
    def stands(self) -> bool:
        """Whether the server may make the next call."""
        return self._left_since is not None

    @property
    def next(self) -> int:
        """The number of the next call."""
        return self._number + 1

    def begin(self, number: int) -> bytes:
        """Begin a call, or repeat it; return the reply if its notification has come already."""
        if number != self._number:
            self._number, self._sent = number, time.monotonic()
            self.since, self._left_since = self._left_since, None
        granted, reply = self._granted
        return reply if granted == number else b""

    def left(self) -> None:
        """Note that the newest call has left the next one with the server."""
        self._left_since = self._sent

    def leaving(self) -> float:
        """Note that the next call is about to be left with the server; return the time."""
        now = time.monotonic()
        if self._left_since is None:
            self._left_since = now
        return now

    def left_at(self, number: int, at: float) -> None:
        """Note that the call with this number was left with the server, which had not made it before."""
        if number == self.next:
            self._left_since = at

    def grant(self, number: int, reply: bytes) -> None:
        """Store the reply to the call with this number, which the server has made ahead."""
        if number >= self._number:
            self._granted = (number, reply)


# ---- settle and claim in one call ----


class SettleWithClaim:
    """
    A settle and a claim of one queue that are called in the same turn of the loop, sent as one call: half the work.

    A settle waits for the end of the turn, unless a claim takes it along before: a worker settles, and then claims.
    """

    def __init__(self, store: OpenStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._pending: _PendingSettle | None = None

    async def settle(self, values: tuple[Any, ...], blobs: Sequence[bytes]) -> Any:
        """Return the reply of settle. Raises a FifoqError."""
        if self._pending is not None:
            return unpack(await self._alone("settle", values, blobs))
        mine = self._pending = _PendingSettle(values, blobs)
        try:
            await _end_of_turn()
        finally:
            taken = self._pending is not mine
            if not taken:
                self._pending = None
        if taken and (reply := await mine.reply) is not None:
            return reply
        return unpack(await self._alone("settle", values, blobs))

    async def claim(self, *values: Any) -> tuple[ClaimReply, bool]:
        """Return the reply of claim, and whether it is certainly no repeat. Raises a FifoqError."""
        settle, self._pending = self._pending, None
        if settle is None:
            return encoding.unpack_claimed(await self._alone("claim", values)), False
        try:
            store = self._store
            call = store.caller.call(self._keys, "claim", store.time, *values, *settle.values, blobs=settle.blobs)
            both = encoding.unpack_settled_and_claimed(await call)
        except BaseException as error:
            settle.failed(error)
            raise
        # None: one of the two is a repeat, so the server did nothing, and each has to be sent by itself.
        settled, claimed = both or (None, None)
        settle.answered(settled)
        if claimed is None:
            return encoding.unpack_claimed(await self._alone("claim", values)), False
        return claimed, True

    def _alone(self, verb: str, values: tuple[Any, ...], blobs: Sequence[bytes] = ()) -> Awaitable[Any]:
        store = self._store
        return store.caller.call(self._keys, verb, store.time, *values, blobs=blobs)


@coroutine
def _end_of_turn() -> Generator[None]:
    """Yield once to the loop: asyncio.sleep(0) without its checks."""
    yield


class _PendingSettle:
    """A settle that waits for a claim to take it along."""

    __slots__ = ("blobs", "reply", "values")

    def __init__(self, values: tuple[Any, ...], blobs: Sequence[bytes]) -> None:
        self.values = values
        self.blobs = blobs
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answered(self, reply: Any) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)

    def failed(self, error: BaseException) -> None:
        if self.reply.done():
            return
        if not isinstance(error, Exception):
            error = OutcomeUnknown("The claim that was sent with this settle was cancelled. It is safe to repeat it.")
        self.reply.set_exception(error)
        self.reply.exception()  # its caller may have been cancelled


# ---- claiming ----


class _NextClaim(NamedTuple):
    """The next claim, which the server may make ahead, for up to `most` jobs; 0: it may not."""

    most: int
    caller: str
    worker: str
    lease: int


_NONE = _NextClaim(0, "", "", 0)


class Claimer:
    """The claims and settles of one queue, and waiting for claimable jobs, in one opening of a backend."""

    def __init__(self, store: OpenStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._calls = SettleWithClaim(store, keys)
        self.settle = self._calls.settle
        self.waiters = ClaimWaiters()
        self._ahead: dict[str, ClaimAhead] = {}
        self._next = _NONE
        self._in_flight = 0
        """The number of claims on their way: each will register this backend as a waiter."""
        self._tasks: dict[frozenset[str], tuple[list[str], bytes]] = {}

    async def claim(self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int) -> Claimed:
        """Claim: `fifoq.queue.Queue.claim`."""
        claims = self._ahead.setdefault(call.caller, ClaimAhead())
        # Until the reply to this claim is known, the server must not make its caller's next one.
        self._next = _NONE
        granted = claims.begin(call.number)
        if granted:
            claimed = await self._read(encoding.unpack_claimed(granted), call, claims.since)
        else:
            self._in_flight += 1
            try:
                claimed = await self._send(claims, call, (worker, n, lease, self._task_names(tasks)), ahead)
            finally:
                self._in_flight -= 1
        most = max(0, ahead - len(claimed.leases))
        self._next = _NextClaim(most, call.caller, worker, lease)
        if most or claims.stands:
            return claimed._replace(stands=True)
        self._ahead.pop(call.caller, None)
        return claimed

    async def _send(
        self, claims: ClaimAhead, call: Call, terms: tuple[str, int, int, list[str]], ahead: int
    ) -> Claimed:
        waiters, store, n = self.waiters, self._store, terms[1]
        waits, may_be_registered = bool(waiters.waiters), waiters.may_be_registered
        channel = b""
        if (waits or may_be_registered) and store.is_subscribed(self._keys.state):
            channel = store.channel
        waiters.may_be_registered, seen = may_be_registered or bool(channel), waiters.notifications
        stay = ("again" if may_be_registered else "wait") if waits else "leave"
        reply, is_new = await self._calls.claim(call.caller, call.number, *terms, channel, waiters.tasks, stay, ahead)
        claimed = await self._read(reply, call, claims.since)
        if channel:
            waiters.may_be_registered = waits and len(claimed.leases) < n
            # A notification that arrived during the claim may be of a change after this registration, which it ended.
            waiters.registered = waiters.may_be_registered and seen == waiters.notifications
            if claims.since is not None and claimed.leases and not is_new:
                # The server may have made this call ahead, and then it registered no waiter now.
                waiters.notify()
            if waiters.may_be_registered:
                claims.left()
        return claimed

    async def _read(self, reply: ClaimReply, call: Call, since: float | None) -> Claimed:
        """Read the reply to a claim, if need be record by record."""
        self.waiters.note_version(reply.version)
        specs = reply.specs
        if specs is None:
            ids = [lease[0] for lease in reply.leases]
            specs = encoding.read_specs(await self._store.caller.call(self._keys, "get", ids))
        return encoding.read_claimed(reply, specs, call, since)

    async def wait(self, timeout: float) -> bool:
        """Wait for a claimable job: `fifoq.queue.Queue.wait`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        with self.waiters.waiting() as waiter:
            while True:
                if not self.waiters.registered and await self._ensure_registered(waiter, end):
                    return True
                left = end - loop.time()
                if await waiter.within(max(0.0, min(left, pubsub.QUERY_AFTER))):
                    return True
                if loop.time() >= end:
                    return False

    def granted(self, caller: str, number: int, reply: bytes) -> None:
        """Take the reply to a claim that the server has made ahead, and wake the waiters."""
        claims = self._ahead.get(caller)
        if claims is not None:
            claims.grant(number, reply)
        self.waiters.notify()

    async def pass_on(self) -> None:
        """Have the server notify another backend: this one was notified of a claimable job and has no waiter."""
        with suppress(FifoqError):
            await self._store.caller.call(self._keys, "pass_on", self._store.time)

    async def _ensure_registered(self, waiter: Waiter, end: float) -> bool:
        """Have this backend registered as a waiter; return True if a job became claimable before."""
        loop, pause = asyncio.get_running_loop(), CLAIMS_WITHIN
        # A notified worker claims now, and its claim registers this backend: that saves half the calls.
        while not await waiter.within(max(0.0, min(pause, end - loop.time()))):
            if self.waiters.registered or loop.time() >= end:
                return False
            if not self._in_flight:
                return await self._register(max(0.0, end - loop.time()))
            pause = CLAIM_TAKES
        return True

    async def _register(self, timeout: float) -> bool:
        """Register this backend as a waiter; return whether the queue has changed since the last look."""
        waiters, store = self.waiters, self._store
        await store.subscribe(self._keys.state, min(timeout, pubsub.QUERY_AFTER))
        before, waiters.may_be_registered = waiters.version, True
        most, caller, worker, lease = self._next
        claims = self._ahead.get(caller) or ClaimAhead()
        number, seen = claims.next, waiters.notifications
        at = claims.leaving() if most else 0.0
        terms = (most, caller, number, worker, lease)
        values = (store.time, store.channel, before, waiters.tasks, *terms)
        version = await store.caller.call(self._keys, "listen", *values)
        if most and version == before:
            claims.left_at(number, at)
        waiters.registered = version == before and seen == waiters.notifications
        return waiters.note_version(version)

    def _task_names(self, tasks: Collection[str]) -> list[str]:
        """Return the names as a list, sorted once for each set: a worker passes the same set each time."""
        names = frozenset(tasks)
        known = self._tasks.get(names)
        if known is None:
            between_zeros = "\0".join(("", *names, "")).encode()
            known = self._tasks[names] = (sorted(names), between_zeros)
        sent, self.waiters.tasks = known
        return sent
