"""The Redis backend, `fifoq.queue.Backend`: on one server, on the primary of a Sentinel group, or on a cluster."""

import asyncio
import logging
import secrets
from collections.abc import Sequence

from fifoq.clock import Clock
from fifoq.errors import ConfigurationError
from fifoq.fork_safety import unwatch_forks, watch_forks
from fifoq.names import check_queue_name
from fifoq_redis.encoding import read_record
from fifoq_redis.keys import Keys, channel, names_key
from fifoq_redis.opening import OpenStore, not_open
from fifoq_redis.queue import RedisQueue
from fifoq_redis.url import Location

_log = logging.getLogger("fifoq.redis")
_warned: set[str] = set()
"""The notes on servers that this process has logged."""


class RedisBackend:
    """
    A store of queues on Redis or Valkey, from version 7.0 on, for any number of processes of any number of machines.

        RedisBackend("redis://localhost:6379/0")
        RedisBackend("redis+cluster://a:6379,b:6379/?prefix=shop")

    Raises ConfigurationError for a URL that is not understood.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._url = url
        self._location = Location.parse(url)
        self._clock = clock
        self._queues: dict[str, RedisQueue] = {}
        self._queue_of_state: dict[bytes, RedisQueue] = {}
        self._store: OpenStore | None = None
        self._forked = False

    def __repr__(self) -> str:
        return f"<RedisBackend {self._location}>"

    async def open(self) -> None:
        """
        Connect, and check the store's schema.

        Raises ConfigurationError if it is of a newer fifoq, or access is denied; BackendUnavailable and others if it
        cannot be used now.
        """
        if self._store is not None:
            return
        own_channel = channel(self._location.prefix, secrets.token_hex(8))
        store = OpenStore(self._location, own_channel, self._clock, self._received)
        try:
            await store.check_schema()
            _warn(await store.check_servers())
        except BaseException:
            await store.close()
            raise
        self._store = store
        self._forked = False
        for queue in self._queues.values():
            queue.opened(store)
        watch_forks(self)

    async def close(self) -> None:
        store, self._store = self._store, None
        unwatch_forks(self)
        for queue in self._queues.values():
            queue.closed()
        if store is not None:
            await store.close()

    def twin(self) -> "RedisBackend":
        return RedisBackend(self._url, clock=self._clock)

    def queue(self, name: str) -> RedisQueue:
        queue = self._queues.get(name)
        if queue is None:
            keys = Keys.of(self._location.prefix, check_queue_name(name))
            queue = self._queues[name] = self._queue_of_state[keys.state] = RedisQueue(keys, name, self._open_store)
            if self._store is not None:
                queue.opened(self._store)
        return queue

    async def queues(self) -> tuple[str, ...]:
        caller, key = self._open_store().caller, names_key(self._location.prefix)
        names = sorted(name.decode() for name in await caller.command(key, "SMEMBERS", key, reads=True))
        states = [Keys.of(self._location.prefix, name).state for name in names]
        exist = await asyncio.gather(*[caller.command(key, "EXISTS", key, reads=True) for key in states])
        return tuple([name for name, exists in zip(names, exist, strict=True) if exists])

    async def check(self) -> tuple[str, ...]:
        """Reach the store and write to it; return advice on its servers."""
        store = self._open_store()
        await store.check_schema()
        await store.check_writable()
        return await store.check_servers()

    # ---- notifications ----

    def _received(self, message: bytes) -> None:
        """
        Pass a notification on to its queue. The fields of a message end in a zero byte, the last one excepted.

        `w`, the key of a queue's state: a job may be claimable. `e`, that key, an id and a record: the job has ended.
        `c`, that key, a caller, a number and a reply: the server has made this caller's claim ahead.
        """
        key, _, rest = message[1:].partition(b"\0")
        queue = self._queue_of_state.get(key)
        store = self._store
        if queue is None or store is None:
            return
        if message[:1] == b"e":
            id, _, record = rest.partition(b"\0")
            text = id.decode()
            queue.finished_waiters.ended(text, read_record(text, record))
        elif message[:1] == b"c":
            caller, number, reply = rest.split(b"\0", 2)
            queue.claimer.granted(caller.decode(), int(number), reply)
        elif not queue.claimer.waiters.notify():
            store.spawn(queue.claimer.pass_on())

    def _open_store(self) -> OpenStore:
        """Return the open store. Raises ConfigurationError if there is none."""
        if self._store is not None:
            return self._store
        if self._forked:
            raise ConfigurationError(
                f"{self._location} was opened before this process was forked. Open it again here: a connection must "
                "not be carried across a fork."
            )
        raise not_open(self._location)

    def forked(self) -> None:
        """Abandon the connections: this process is a forked child, and they are the parent's."""
        store, self._store = self._store, None
        self._forked = True
        for queue in self._queues.values():
            queue.closed()
        if store is not None:
            store.abandon()


def _warn(notes: Sequence[str]) -> None:
    """
    Log each note on a server, once in the life of the process: they are about jobs that a server may lose.

    Each worker opens its backend twice, and an app may open several.
    """
    for note in notes:
        if note not in _warned:
            _warned.add(note)
            _log.warning("%s", note)
