"""One queue of a Redis store: `fifoq.queue.Queue`. Each call is one function of the library."""

import asyncio
from collections.abc import Awaitable, Collection, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol

from fifoq.errors import BackendUnavailable, FifoqError, InvalidArguments, JobNotFound
from fifoq.lease import Claimed, Extension, Hold, Settlement
from fifoq.queue import MAX_PAGE, Audit, BlockedKeys, Call, Changed, PutReply, Setting, Stats
from fifoq.record import Filter, JobSpec, Record, Records
from fifoq.state import State
from fifoq_redis import packing
from fifoq_redis.auditing import audit
from fifoq_redis.keys import Keys
from fifoq_redis.packing import pack, unpack
from fifoq_redis.turn import Turn
from fifoq_redis.watch import Ring, Watch

CLAIMS_WITHIN = 0.002
"""Seconds."""


class Store(Protocol):
    """What a queue needs of its backend."""

    @property
    def channel(self) -> bytes:
        """Where the functions tell this backend what it waits for."""
        ...

    def run(self, keys: Keys, verb: str, *arguments: bytes | str | int) -> Awaitable[Any]:
        """Call a function of the library; its reply is awaited. Raises a FifoqError, now or then."""
        ...

    async def register(self, name: str) -> None:
        """Put a queue's name among those of the store."""
        ...

    async def hear(self, keys: Keys, timeout: float) -> bool:
        """Listen to the channel; return whether that is so within `timeout` seconds."""
        ...

    def hears(self, keys: Keys) -> bool:
        """Whether the channel is listened to."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done meanwhile; it is cancelled when the backend closes."""
        ...

    @property
    def time(self) -> str | int:
        """The time of a test clock, or nothing: then the server's counts."""
        ...


class RedisQueue:
    """One named line of jobs on a server."""

    def __init__(self, store: Store, keys: Keys, name: str) -> None:
        self.name = name
        self.watch = Watch()
        self._store = store
        self._keys = keys
        self._turn = Turn(self._run, lambda: store.time)
        self._registered = False
        self._asked: dict[str, asyncio.Future[Any]] = {}
        self._tasks: dict[frozenset[str], tuple[bytes, bytes]] = {}

    # ---- jobs in, out and through

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        if not self._registered:
            await self._register()
        jobs = [packing.pack_spec(spec) for batch in batches for spec in batch]
        sizes = pack([len(batch) for batch in batches])
        tasks = pack(list({spec.task for batch in batches for spec in batch}))
        reply = await self._run("put", self._store.time, call.caller, call.number, tasks, sizes, *jobs)
        made, replies = unpack(reply)
        if made:
            await self._register()
        return tuple([packing.read_receipts(one, batch) for one, batch in zip(replies, batches, strict=True)])

    async def claim(self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str]) -> Claimed:
        watch = self.watch
        known = self._known(tasks)
        channel = self._store.channel if watch.idle and self._store.hears(self._keys) else b""
        noted, watch.noted = watch.noted, watch.noted or bool(channel)
        reply = await self._turn.claim(
            call.caller, call.number, worker, n, lease, known, channel, watch.knows, int(noted)
        )
        claimed, version = packing.read_claimed(reply, call)
        watch.saw(version)
        if channel:
            watch.noted = len(claimed.leases) < n
            watch.listens(watch.noted)
        return claimed

    async def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        return packing.read_holds(await self._run("extend", self._store.time, *packing.pack_extensions(extensions)))

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        packed = packing.pack_settlements(settlements)
        return packing.read_states(await self._turn.settle(call.caller, call.number, *packed))

    # ---- waiting

    async def wait(self, timeout: float) -> bool:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        watch = self.watch
        with watch.waiting() as ring:
            while True:
                if not watch.listening and await self._begin_to_listen(ring, end):
                    return True
                left = end - loop.time()
                if await ring.within(max(0.0, min(left, watch.floor))):
                    return True
                if loop.time() >= end:
                    return False

    async def _begin_to_listen(self, ring: Ring, end: float) -> bool:
        """Have this backend told of the next change; return True if there has been one."""
        now = asyncio.get_running_loop().time()
        # Whoever was told of a change claims now, and a claim says that somebody listens here: half the calls.
        if await ring.within(max(0.0, min(CLAIMS_WITHIN, end - now))):
            return True
        return not self.watch.listening and await self._listen(max(0.0, end - now))

    async def _listen(self, timeout: float) -> bool:
        watch = self.watch
        await self._store.hear(self._keys, min(timeout, self.watch.floor))
        seen, watch.noted = watch.version, True
        version = await self._run("listen", self._store.time, self._store.channel, seen, watch.knows)
        watch.listens(version == seen)
        return watch.saw(version)

    async def pass_on(self) -> None:
        """This backend was told of something to claim, and nobody here waits any more: have another one told."""
        with suppress(FifoqError):
            await self._run("pass_on", self._store.time)

    async def finished(self, id: str, timeout: float) -> Record | None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        # Listen before looking: what ends in between is heard of.
        with self.watch.expecting(id) as ring:
            await self._store.hear(self._keys, min(timeout, self.watch.floor))
            while True:
                found = await self._ask(id)
                if found is None:
                    raise JobNotFound(id, self.name)
                if found:
                    return packing.read_record(found)
                record = await ring.within(max(0.0, min(end - loop.time(), self.watch.floor)))
                if record or loop.time() >= end:
                    return record

    async def _ask(self, id: str) -> Any:
        """The record of a job if it has ended, False if not yet, None if there is none. Asked together in a turn."""
        asked = self._asked.get(id)
        if asked is None:
            if not self._asked:
                self._store.spawn(self._ask_all())
            asked = self._asked[id] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(asked)

    async def _ask_all(self) -> None:
        asked, self._asked = self._asked, {}
        try:
            replies = unpack(await self._run("watch", pack(list(asked)), self._store.channel))
        except BaseException as error:
            closed = BackendUnavailable("The backend was closed.")
            for future in asked.values():
                future.set_exception(error if isinstance(error, Exception) else closed)
                future.exception()  # those who waited may be gone
            if not isinstance(error, Exception):
                raise
            return
        for future, reply in zip(asked.values(), replies, strict=True):
            future.set_result(reply)

    # ---- looks

    async def get(self, ids: Sequence[str]) -> tuple[Record | None, ...]:
        return packing.read_records(await self._run("get", pack(list(ids))))

    async def find(self, filter: Filter, cursor: int, limit: int) -> Records:
        records, behind = unpack(await self._run("find", cursor, limit, packing.pack_filter(filter)))
        return Records(tuple([packing.read_record(one) for one in records]), behind)

    async def stats(self) -> Stats:
        return packing.read_stats(await self._run("stats", self._store.time))

    async def blocked_keys(self, cursor: str | None, limit: int) -> BlockedKeys:
        since, key = _read_cursor(cursor)
        keys, more = packing.read_blocked(await self._run("blocked", since, key, min(limit, MAX_PAGE)))
        return BlockedKeys(keys, f"{keys[-1].since}:{keys[-1].key}" if more and keys else None)

    async def audit(self) -> Audit:
        return audit(await self._run("audit"))

    # ---- operators

    async def cancel(self, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
        return packing.read_changed(await self._run("cancel", self._store.time, pack(list(ids)), reason))

    async def requeue(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return packing.read_changed(await self._run("requeue", self._store.time, pack(list(ids))))

    async def skip(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return packing.read_changed(await self._run("skip", self._store.time, pack(list(ids))))

    async def configure(self, settings: Sequence[Setting]) -> None:
        if not self._registered:
            await self._register()
        if await self._run("configure", self._store.time, packing.pack_settings(settings)):
            await self._register()

    async def purge(self, limit: int) -> int:
        return int(await self._run("purge", self._store.time, limit))

    def closed(self) -> None:
        """The backend was closed: whatever it was told of is told no more."""
        self.watch = Watch()
        self._turn = Turn(self._run, lambda: self._store.time)
        self._asked.clear()
        self._registered = False

    # ---- what they are made of

    def _run(self, verb: str, *arguments: bytes | str | int) -> Awaitable[Any]:
        return self._store.run(self._keys, verb, *arguments)

    async def _register(self) -> None:
        """Its name comes before its first job: a queue that nobody can find would never be served."""
        await self._store.register(self.name)
        self._registered = True

    def _known(self, tasks: Collection[str]) -> bytes:
        """The tasks as the server reads them; a worker gives the same set each time."""
        names = frozenset(tasks)
        known = self._tasks.get(names)
        if known is None:
            between_zeros = "\0".join(("", *names, "")).encode()
            known = self._tasks[names] = (pack(sorted(names)), between_zeros)
        packed, self.watch.knows = known
        return packed


def _read_cursor(cursor: str | None) -> tuple[str, str]:
    if cursor is None:
        return "", ""
    since, colon, key = cursor.partition(":")
    if not (colon and since.isascii() and since.isdecimal()):
        raise InvalidArguments(
            f"A cursor is one that a page of blocked keys gave, not {cursor!r}. Leave it out to begin.",
            parameter="cursor",
        )
    return since, key
