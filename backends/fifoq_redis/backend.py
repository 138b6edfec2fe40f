"""Redis as a backend: `fifoq.queue.Backend`, on one server, a primary that sentinels watch, or a cluster."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any

from fifoq.clock import Clock
from fifoq.errors import ConfigurationError
from fifoq.fork_safety import unwatch_forks, watch_forks
from fifoq.names import check_queue_name
from fifoq_redis.encoding import read_record, unpack
from fifoq_redis.keys import Keys, channel, names_key
from fifoq_redis.opening import EVICTS, OpenStore
from fifoq_redis.queue import RedisQueue
from fifoq_redis.url import Location

_log = logging.getLogger("fifoq.redis")


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
        self._queues_by_book: dict[bytes, RedisQueue] = {}
        self._opened: OpenStore | None = None
        self._channel = b""
        self._forked = False

    def __repr__(self) -> str:
        return f"<RedisBackend {self._location}>"

    async def open(self) -> None:
        """
        Connect, and check the store's schema.

        Raises ConfigurationError if it is of a newer fifoq, or access is denied; BackendUnavailable and others if it
        cannot be used now.
        """
        if self._opened is not None:
            return
        self._channel = channel(self._location.prefix, secrets.token_hex(8))
        opened = OpenStore(self._location, self._channel, self._heard)
        try:
            await opened.check_schema()
            for note in await opened.look():
                _log.log(logging.WARNING if EVICTS in note else logging.INFO, "%s", note)
        except BaseException:
            await opened.close()
            raise
        self._opened = opened
        self._forked = False
        watch_forks(self)

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        unwatch_forks(self)
        for queue in self._queues.values():
            queue.closed()
        if opened is not None:
            await opened.close()

    def twin(self) -> "RedisBackend":
        return RedisBackend(self._url, clock=self._clock)

    def queue(self, name: str) -> RedisQueue:
        queue = self._queues.get(name)
        if queue is None:
            keys = Keys.of(self._location.prefix, check_queue_name(name))
            queue = self._queues[name] = self._queues_by_book[keys.book] = RedisQueue(self, keys, name)
        return queue

    async def queues(self) -> tuple[str, ...]:
        runner, key = self._opened_now().runner, names_key(self._location.prefix)
        names = sorted(name.decode() for name in await runner.command(key, "SMEMBERS", key, looks=True))
        books = [Keys.of(self._location.prefix, name).book for name in names]
        there = await asyncio.gather(*[runner.command(book, "EXISTS", book, looks=True) for book in books])
        return tuple([name for name, exists in zip(names, there, strict=True) if exists])

    async def check(self) -> tuple[str, ...]:
        """Reach the store and write to it; return what is worth knowing of its servers."""
        opened = self._opened_now()
        await opened.check_schema()
        return await opened.look()

    # ---- for its queues

    @property
    def channel(self) -> bytes:
        return self._channel

    @property
    def time(self) -> str | int:
        return "" if self._clock is None else self._clock.now()

    def run(
        self, keys: Keys, verb: str, *values: Any, blobs: Sequence[bytes] = (), late: bool = False
    ) -> Awaitable[Any]:
        opened = self._opened or self._opened_now()
        return opened.runner.verb(keys, verb, values, blobs, late=late)

    async def register(self, name: str) -> None:
        key = names_key(self._location.prefix)
        await self._opened_now().runner.command(key, "SADD", key, name)

    async def hear(self, keys: Keys, timeout: float) -> bool:
        return await self._opened_now().hear(keys.book, timeout)

    def hears(self, keys: Keys) -> bool:
        opened = self._opened
        return opened is not None and opened.hears(keys.book)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._opened_now().spawn(work)

    def _heard(self, message: bytes) -> None:
        """
        Pass on what a function said to those who wait.

        `w` and a queue's book: ask. `e`, that, an id and a record: it has ended. `c`, that, a caller, a number and a
        reply: its claim was made.
        """
        book, _, rest = message[1:].partition(b"\0")
        queue = self._queues_by_book.get(book)
        if queue is None:
            return
        if message[:1] == b"e":
            id, _, record = rest.partition(b"\0")
            queue.ends.ended(id.decode(), read_record(unpack(record)))
        elif message[:1] == b"c":
            caller, number, reply = rest.split(b"\0", 2)
            queue.granted(caller.decode(), int(number), reply)
        elif not queue.watch.changed():
            self.spawn(queue.pass_on())

    def _opened_now(self) -> OpenStore:
        if self._opened is not None:
            return self._opened
        if self._forked:
            raise ConfigurationError(
                f"{self._location} was opened before this process was forked. Open it again here: a connection must "
                "not be carried across a fork."
            )
        raise ConfigurationError(f"{self._location} is not open. Open it first, as `async with` on a Fifoq does.")

    def forked(self) -> None:
        """This is a child: nothing of the parent's is used any more."""
        opened, self._opened = self._opened, None
        self._forked = True
        if opened is not None:
            opened.abandon()
