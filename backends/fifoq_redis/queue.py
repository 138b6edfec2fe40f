"""A queue of a Redis store, `fifoq.queue.Queue`: each verb is one call of a function of the library."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from types import CoroutineType
from typing import Any

from fifoq.errors import InvalidArguments
from fifoq.queue import MAX_PAGE, Audit, BlockedKeys, Call, Changed, PutReply, Setting, Stats
from fifoq.record import Claimed, Damaged, Extension, Filter, Hold, JobSpec, Record, Records, Settlement, State
from fifoq_redis import encoding
from fifoq_redis.audit import audit
from fifoq_redis.claim import Claimer
from fifoq_redis.encoding import unpack
from fifoq_redis.finished import FinishedWaiters
from fifoq_redis.keys import Keys
from fifoq_redis.opening import OpenStore


class RedisQueue:
    """A queue on a server. It may be made before the backend is open; its verbs then raise ConfigurationError."""

    def __init__(self, keys: Keys, name: str, open_store: Callable[[], OpenStore]) -> None:
        self.name = name
        self._keys = keys
        self._open_store = open_store
        """Returns the open store, or raises ConfigurationError."""
        self._store: OpenStore | None = None
        self._registered = False

    claimer: Claimer
    """Claims and settles. A new one for each opening of the backend."""
    finished_waiters: FinishedWaiters
    """The waiters for ends of jobs. New for each opening, too."""

    def opened(self, store: OpenStore) -> None:
        """Begin to work on a store that was just opened."""
        self._store = store
        self.claimer = Claimer(store, self._keys)
        self.finished_waiters = FinishedWaiters(store, self._keys, self.name)
        self._registered = False

    def closed(self) -> None:
        """Stop working on the store: the backend was closed."""
        self._store = None

    # ---- put, claim, extend, settle ----

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        store = self._store or self._open_store()
        if not self._registered:
            await self._register(store)
        jobs = [encoding.pack_spec(spec) for batch in batches for spec in batch]
        sizes = [len(batch) for batch in batches]
        tasks = list({spec.task for batch in batches for spec in batch})
        awaited = self.finished_waiters.expected(batches)
        channel = store.channel if awaited else b""
        values = (store.time, *call, tasks, sizes, channel, awaited)
        # A caller that awaits the end of its job does not need the reply to the put before: the worker goes first.
        made, packed = unpack(await store.caller.call(self._keys, "put", *values, blobs=jobs, late=bool(awaited)))
        if made:
            await self._register(store)
        replies = tuple([encoding.read_receipts(one, batch) for one, batch in zip(packed, batches, strict=True)])
        if awaited:
            self.finished_waiters.put(awaited, replies)
        return replies

    def claim(
        self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int = 0
    ) -> "CoroutineType[Any, Any, Claimed]":  # not subscriptable before 3.13
        if self._store is None:
            self._open_store()  # raises
        return self.claimer.claim(call, worker, n, lease, tasks, ahead)

    async def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        values, blobs = encoding.split_extensions(extensions)
        return encoding.read_holds(await self._change("extend", values, blobs=blobs))

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        values, blobs = encoding.split_settlements(settlements)
        if self._store is None:
            self._open_store()  # raises
        return encoding.read_states(await self.claimer.settle((*call, values), blobs))

    # ---- waiting ----

    async def wait(self, timeout: float) -> bool:
        if self._store is None:
            self._open_store()  # raises
        return await self.claimer.wait(timeout)

    def expect(self, id: str) -> None:
        if self._store is not None:
            self.finished_waiters.expect(id)

    async def finished(self, id: str, timeout: float) -> Record | Damaged | None:
        if self._store is None:
            self._open_store()  # raises
        return await self.finished_waiters.finished(id, timeout)

    # ---- reading ----

    async def get(self, ids: Sequence[str]) -> tuple[Record | Damaged | None, ...]:
        return encoding.read_records(ids, await self._call("get", list(ids)))

    async def find(self, filter: Filter, cursor: int, limit: int) -> Records:
        return encoding.read_page(await self._call("find", cursor, limit, encoding.plain_filter(filter)))

    async def stats(self) -> Stats:
        return encoding.read_stats(await self._change("stats"))

    async def blocked_keys(self, cursor: str | None, limit: int, owner: str | None = None) -> BlockedKeys:
        since, key = _read_cursor(cursor)
        reply = await self._call("blocked", since, key, min(limit, MAX_PAGE), False if owner is None else owner)
        keys, behind = encoding.read_blocked(reply)
        return BlockedKeys(keys, f"{behind[0]}:{behind[1]}" if behind else None)

    async def audit(self) -> Audit:
        return audit(await self._call("audit"))

    # ---- operators ----

    async def cancel(self, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
        # The server does not read the parts of a record that it only stores, so it does not find all damage.
        damaged = [found.id for found in await self.get(ids) if isinstance(found, Damaged)]
        return encoding.read_changed(await self._change("cancel", list(ids), reason, damaged))

    async def requeue(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return encoding.read_changed(await self._change("requeue", list(ids)))

    async def skip(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return encoding.read_changed(await self._change("skip", list(ids)))

    async def configure(self, settings: Sequence[Setting]) -> None:
        store = self._store or self._open_store()
        if not self._registered:
            await self._register(store)
        if await self._change("configure", encoding.plain_settings(settings)):
            await self._register(store)

    async def purge(self, limit: int) -> int:
        return int(await self._change("purge", limit))

    # ---- one call ----

    def _call(self, verb: str, *values: Any) -> Awaitable[Any]:
        """Call a function of the library; its reply is awaited. Raises a FifoqError, now or then."""
        return (self._store or self._open_store()).caller.call(self._keys, verb, *values)

    def _change(self, verb: str, *values: Any, blobs: Sequence[bytes] = ()) -> Awaitable[Any]:
        """Call a function that takes the store's time as its first value."""
        store = self._store or self._open_store()
        return store.caller.call(self._keys, verb, store.time, *values, blobs=blobs)

    async def _register(self, store: OpenStore) -> None:
        """Register the queue's name, before its first job: a queue that is not listed would never be served."""
        await store.register(self.name)
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
