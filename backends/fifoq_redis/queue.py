"""One queue of a Redis store: `fifoq.queue.Queue`. Each call is one function of the library."""

from collections.abc import Awaitable, Collection, Sequence
from contextlib import suppress
from types import CoroutineType
from typing import Any

from fifoq.errors import FifoqError, InvalidArguments
from fifoq.queue import MAX_PAGE, Audit, BlockedKeys, Call, Changed, PutReply, Setting, Stats
from fifoq.record import Claimed, Extension, Filter, Hold, JobSpec, Record, Records, Settlement, State
from fifoq_redis import encoding as packing
from fifoq_redis.audit import audit
from fifoq_redis.claims import Claimer, SettleWithClaim, Watch
from fifoq_redis.encoding import unpack
from fifoq_redis.finished import Ends
from fifoq_redis.keys import Keys
from fifoq_redis.opening import Store


class RedisQueue:
    """One named line of jobs on a server."""

    def __init__(self, store: Store, keys: Keys, name: str) -> None:
        self.name = name
        self.watch = Watch()
        self._store = store
        self._keys = keys
        self._turn = SettleWithClaim(self._run, lambda: store.time)
        self._waiting = Claimer(store, keys, self._turn, self.watch)
        self.ends = Ends(store, keys, name)
        self._registered = False

    # ---- jobs in, out and through

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        if not self._registered:
            await self._register()
        jobs = [packing.pack_spec(spec) for batch in batches for spec in batch]
        sizes = [len(batch) for batch in batches]
        tasks = list({spec.task for batch in batches for spec in batch})
        watched = self.ends.among(batches)
        channel = self._store.channel if watched else b""
        values = (self._store.time, *call, tasks, sizes, channel, watched)
        # Who waits for an end has no use for the reply before that.
        reply = await self._store.run(self._keys, "put", *values, blobs=jobs, late=bool(watched))
        made, packed = unpack(reply)
        if made:
            await self._register()
        replies = tuple([packing.read_receipts(one, batch) for one, batch in zip(packed, batches, strict=True)])
        if watched:
            self.ends.put(watched, replies)
        return replies

    def claim(
        self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int = 0
    ) -> "CoroutineType[Any, Any, Claimed]":  # not subscriptable before 3.13
        return self._waiting.claim(call, worker, n, lease, tasks, ahead)

    async def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        values, blobs = packing.split_extensions(extensions)
        return packing.read_holds(await self._run("extend", self._store.time, values, blobs=blobs))

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        values, blobs = packing.split_settlements(settlements)
        return packing.read_states(await self._turn.settle((*call, values), blobs))

    # ---- waiting

    async def wait(self, timeout: float) -> bool:
        return await self._waiting.wait(timeout)

    def granted(self, caller: str, number: int, reply: bytes) -> None:
        """This backend was told that the server has made a claim ahead."""
        self._waiting.granted(caller, number, reply)
        self.watch.changed()

    async def pass_on(self) -> None:
        """This backend was told of something to claim, and nobody here waits any more: have another one told."""
        with suppress(FifoqError):
            await self._run("pass_on", self._store.time)

    def expect(self, id: str) -> None:
        self.ends.expect(id)

    async def finished(self, id: str, timeout: float) -> Record | None:
        return await self.ends.finished(id, timeout)

    # ---- looks

    async def get(self, ids: Sequence[str]) -> tuple[Record | None, ...]:
        return packing.read_records(await self._run("get", list(ids)))

    async def find(self, filter: Filter, cursor: int, limit: int) -> Records:
        records, behind = unpack(await self._run("find", cursor, limit, packing.plain_filter(filter)))
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
        return packing.read_changed(await self._run("cancel", self._store.time, list(ids), reason))

    async def requeue(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return packing.read_changed(await self._run("requeue", self._store.time, list(ids)))

    async def skip(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return packing.read_changed(await self._run("skip", self._store.time, list(ids)))

    async def configure(self, settings: Sequence[Setting]) -> None:
        if not self._registered:
            await self._register()
        if await self._run("configure", self._store.time, packing.plain_settings(settings)):
            await self._register()

    async def purge(self, limit: int) -> int:
        return int(await self._run("purge", self._store.time, limit))

    def closed(self) -> None:
        """The backend was closed: whatever it was told of is told no more."""
        self.watch = Watch()
        self._turn = SettleWithClaim(self._run, lambda: self._store.time)
        self._waiting = Claimer(self._store, self._keys, self._turn, self.watch)
        self.ends.forget()
        self._registered = False

    # ---- what they are made of

    def _run(self, verb: str, *values: Any, blobs: Sequence[bytes] = ()) -> Awaitable[Any]:
        return self._store.run(self._keys, verb, *values, blobs=blobs)

    async def _register(self) -> None:
        """Its name comes before its first job: a queue that nobody can find would never be served."""
        await self._store.register(self.name)
        self._registered = True


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
