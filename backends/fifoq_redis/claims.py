"""
How a backend claims from one queue, and waits for something to claim.

A claim that leaves room says where to tell of more, and lets the server make the next one ahead: what a put brings is
leased in the same step, and told. `wait` then ends, and the next claim has its reply without asking.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from types import coroutine
from typing import Any, NamedTuple

from fifoq.errors import OutcomeUnknown
from fifoq.queue import Call
from fifoq.record import Claimed
from fifoq.waiters import Waiter
from fifoq_redis import encoding as packing
from fifoq_redis.encoding import Word, unpack
from fifoq_redis.keys import Keys
from fifoq_redis.opening import Store


class ClaimAhead:
    """
    One caller's claims, as far as the next one may be made ahead.

    What was leased ahead may be under way for long, or wait here while the loop is busy: its leases count from the
    moment at which the claim was left with the server.
    """

    __slots__ = ("_asked", "_granted", "_number", "_sent", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        """From when the leases of the newest call count (`time.monotonic()`), if the server may have made it ahead."""
        self._number = 0
        self._sent = 0.0
        self._asked: float | None = None
        self._granted: tuple[int, bytes] = (0, b"")

    @property
    def stands(self) -> bool:
        """Whether the server may make the next call."""
        return self._asked is not None

    @property
    def next(self) -> int:
        """The number of the next call."""
        return self._number + 1

    def begin(self, number: int) -> bytes:
        """Make a call, or repeat it; return the reply if it has been told already."""
        if number != self._number:
            self._number, self._sent = number, time.monotonic()
            self.since, self._asked = self._asked, None
        granted, reply = self._granted
        return reply if granted == number else b""

    def left(self) -> None:
        """The newest call has left the next one with the server."""
        self._asked = self._sent

    def leaving(self) -> float:
        """The next call is about to be left there, perhaps once more; return the time."""
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
        return now

    def left_at(self, number: int, at: float) -> None:
        """It was left there then, and had not been made before."""
        if number == self.next:
            self._asked = at

    def grant(self, number: int, reply: bytes) -> None:
        """The server has made the call with this number."""
        if number >= self._number:
            self._granted = (number, reply)


Run = Callable[..., Awaitable[bytes]]
"""Calls a verb with these values and returns its reply. Raises a FifoqError."""


class SettleWithClaim:
    """
    The settle and the claim of one queue that are called in the same turn of the loop: half the work for the server.

    A settle waits for the end of the turn, unless a claim takes it along before: a worker settles, and then claims.
    """

    def __init__(self, run: Run, time: Callable[[], Word]) -> None:
        self._run = run
        self._time = time
        self._waiting: _Settle | None = None

    async def settle(self, values: tuple[Any, ...], blobs: Sequence[bytes]) -> Any:
        """Return the reply of settle. Raises a FifoqError."""
        if self._waiting is not None:
            return await self._alone("settle", values, blobs)
        mine = self._waiting = _Settle(values, blobs)
        try:
            await _end_of_turn()
        finally:
            taken = self._waiting is not mine
            if not taken:
                self._waiting = None
        if taken and (reply := await mine.reply) is not None:
            return reply
        return await self._alone("settle", values, blobs)

    async def claim(self, *values: Any) -> Any:
        """Return the reply of claim. Raises a FifoqError."""
        settle, self._waiting = self._waiting, None
        if settle is None:
            return await self._alone("claim", values)
        try:
            both = unpack(await self._run("claim", self._time(), *values, *settle.values, blobs=settle.blobs))
        except BaseException as error:
            settle.failed(error)
            raise
        # None: one of the two is a repeat, so nothing was done, and each has to go by itself.
        settled, claimed = both or (None, None)
        settle.answered(settled)
        return await self._alone("claim", values) if claimed is None else claimed

    async def _alone(self, verb: str, values: tuple[Any, ...], blobs: Sequence[bytes] = ()) -> Any:
        return unpack(await self._run(verb, self._time(), *values, blobs=blobs))


@coroutine
def _end_of_turn() -> Generator[None]:
    """As asyncio.sleep(0), which looks at its arguments."""
    yield


class _Settle:
    """One that waits for a claim to take it along."""

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
            error = OutcomeUnknown("The claim that this settle travelled with was cancelled. It is safe to repeat it.")
        self.reply.set_exception(error)
        self.reply.exception()  # who waited may be gone


class Watch:
    """Those who wait for something to claim from one queue, on one loop."""

    floor = 1.0
    """Seconds after which whoever waits asks whether there is something that nobody told of."""

    def __init__(self) -> None:
        self.version = -1
        """The version of the queue that the last claim, or the last hint, was given at."""
        self.knows = b""
        """The tasks of the last claim, each between zero bytes."""
        self.noted = False
        """The store may have this backend among those who wait."""
        self.rung = 0
        """How often something was told."""
        self.idle: set[Waiter] = set()
        self._until = 0.0

    @property
    def listening(self) -> bool:
        """Whether the store was told, not long ago, that somebody here waits."""
        return asyncio.get_running_loop().time() < self._until

    def listens(self, listening: bool) -> None:
        self._until = asyncio.get_running_loop().time() + self.floor if listening else 0.0

    def saw(self, version: int) -> bool:
        """Note the version that the queue has; return whether it is news."""
        before, self.version = self.version, version
        return before != version

    @contextmanager
    def waiting(self) -> "Generator[Waiter]":
        """A ring for something to claim."""
        ring = Waiter()
        self.idle.add(ring)
        try:
            yield ring
        finally:
            self.idle.discard(ring)

    def changed(self) -> bool:
        """Something may have become claimable; return whether anybody here wants to know."""
        self.rung += 1
        self.listens(False)
        for ring in self.idle:
            ring.give(True)
        return bool(self.idle)


CLAIMS_WITHIN, CLAIM_TAKES = 0.002, 0.02
"""Seconds after which whoever is told of something claims, and after which the reply to a claim has mostly come."""


class _Next(NamedTuple):
    """The claim that may be made ahead, as far as it is known: for up to `most` jobs, if that is not 0."""

    most: int
    caller: str
    worker: str
    lease: int


_NOTHING = _Next(0, "", "", 0)


class Claimer:
    """The claims of one queue of one backend, on one loop, and those who wait to make one."""

    def __init__(self, store: Store, keys: Keys, turn: SettleWithClaim, watch: Watch) -> None:
        self._store = store
        self._keys = keys
        self._turn = turn
        self._watch = watch
        self._standing: dict[str, ClaimAhead] = {}
        self._next = _NOTHING
        self._asking = 0
        """Claims that are on their way: each will say that somebody listens."""
        self._tasks: dict[frozenset[str], tuple[list[str], bytes]] = {}

    async def claim(self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int) -> Claimed:
        """Claim: `fifoq.queue.Queue.claim`."""
        standing = self._standing.setdefault(call.caller, ClaimAhead())
        # Until it is known to have been made, its caller's next one must not be.
        self._next = _NOTHING
        told = standing.begin(call.number)
        if told:
            claimed, version = packing.read_claimed(unpack(told), call, standing.since)
            self._watch.saw(version)
        else:
            self._asking += 1
            try:
                claimed = await self._ask(standing, call, (worker, n, lease, self._known(tasks)), ahead)
            finally:
                self._asking -= 1
        most = max(0, ahead - len(claimed.leases))
        self._next = _Next(most, call.caller, worker, lease)
        if most or standing.stands:
            return claimed._replace(stands=True)
        self._standing.pop(call.caller, None)
        return claimed

    async def _ask(
        self, standing: ClaimAhead, call: Call, terms: tuple[str, int, int, list[str]], ahead: int
    ) -> Claimed:
        watch, n = self._watch, terms[1]
        waits, noted = bool(watch.idle), watch.noted
        channel = self._store.channel if (waits or noted) and self._store.hears(self._keys) else b""
        watch.noted, rung = noted or bool(channel), watch.rung
        stay = ("again" if noted else "wait") if waits else "leave"
        reply = await self._turn.claim(call.caller, call.number, *terms, channel, watch.knows, stay, ahead)
        claimed, version = packing.read_claimed(reply, call, standing.since)
        watch.saw(version)
        if channel:
            watch.noted = waits and len(claimed.leases) < n
            # Whoever was told of something meanwhile may have been told after he was noted.
            watch.listens(watch.noted and rung == watch.rung)
            if standing.since is not None and claimed.leases:
                # The server may have made this call ahead, and then it noted nobody now.
                watch.changed()
            if watch.noted:
                standing.left()
        return claimed

    async def wait(self, timeout: float) -> bool:
        """Wait for something to claim: `fifoq.queue.Queue.wait`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        watch = self._watch
        with watch.waiting() as ring:
            while True:
                if not watch.listening and await self._begin_to_listen(ring, end):
                    return True
                left = end - loop.time()
                if await ring.within(max(0.0, min(left, watch.floor))):
                    return True
                if loop.time() >= end:
                    return False

    def granted(self, caller: str, number: int, reply: bytes) -> None:
        """The server has made a claim ahead."""
        standing = self._standing.get(caller)
        if standing is not None:
            standing.grant(number, reply)

    async def _begin_to_listen(self, ring: Waiter, end: float) -> bool:
        """Have this backend told of the next change; return True if there has been one."""
        loop, pause = asyncio.get_running_loop(), CLAIMS_WITHIN
        # Whoever was told of a change claims now, and a claim says that somebody listens here: half the calls.
        while not await ring.within(max(0.0, min(pause, end - loop.time()))):
            if self._watch.listening or loop.time() >= end:
                return False
            if not self._asking:
                return await self._listen(max(0.0, end - loop.time()))
            pause = CLAIM_TAKES
        return True

    async def _listen(self, timeout: float) -> bool:
        watch = self._watch
        await self._store.hear(self._keys, min(timeout, watch.floor))
        seen, watch.noted = watch.version, True
        most, caller, worker, lease = self._next
        standing = self._standing.get(caller) or ClaimAhead()
        number, rung = standing.next, watch.rung
        at = standing.leaving() if most else 0.0
        store = self._store
        terms = (most, caller, number, worker, lease)
        version = await store.run(self._keys, "listen", store.time, store.channel, seen, watch.knows, *terms)
        if most and version == seen:
            standing.left_at(number, at)
        watch.listens(version == seen and rung == watch.rung)
        return watch.saw(version)

    def _known(self, tasks: Collection[str]) -> list[str]:
        """The tasks as the server is told them; a worker gives the same set each time."""
        names = frozenset(tasks)
        known = self._tasks.get(names)
        if known is None:
            between_zeros = "\0".join(("", *names, "")).encode()
            known = self._tasks[names] = (sorted(names), between_zeros)
        told, self._watch.knows = known
        return told
