"""
How a backend claims from one queue, and waits for something to claim.

A claim that leaves room says where to tell of more, and lets the server make the next one ahead: what a put brings is
leased in the same step, and told. `wait` then ends, and the next claim has its reply without asking.
"""

import asyncio
from collections.abc import Collection
from typing import NamedTuple

from fifoq.lease import Claimed
from fifoq.queue import Call
from fifoq.ring import Ring
from fifoq_redis import packing
from fifoq_redis.keys import Keys
from fifoq_redis.packing import unpack
from fifoq_redis.standing import Standing
from fifoq_redis.store import Store
from fifoq_redis.turn import Turn
from fifoq_redis.watch import Watch

CLAIMS_WITHIN, CLAIM_TAKES = 0.002, 0.02
"""Seconds after which whoever is told of something claims, and after which the reply to a claim has mostly come."""


class _Next(NamedTuple):
    """The claim that may be made ahead, as far as it is known: for up to `most` jobs, if that is not 0."""

    most: int
    caller: str
    worker: str
    lease: int


_NOTHING = _Next(0, "", "", 0)


class Waiting:
    """The claims of one queue of one backend, on one loop, and those who wait to make one."""

    def __init__(self, store: Store, keys: Keys, turn: Turn, watch: Watch) -> None:
        self._store = store
        self._keys = keys
        self._turn = turn
        self._watch = watch
        self._standing: dict[str, Standing] = {}
        self._next = _NOTHING
        self._asking = 0
        """Claims that are on their way: each will say that somebody listens."""
        self._tasks: dict[frozenset[str], tuple[list[str], bytes]] = {}

    async def claim(self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int) -> Claimed:
        """Claim: `fifoq.queue.Queue.claim`."""
        standing = self._standing.setdefault(call.caller, Standing())
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

    async def _ask(self, standing: Standing, call: Call, terms: tuple[str, int, int, list[str]], ahead: int) -> Claimed:
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

    async def _begin_to_listen(self, ring: Ring, end: float) -> bool:
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
        standing = self._standing.get(caller) or Standing()
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
