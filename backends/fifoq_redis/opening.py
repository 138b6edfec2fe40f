"""What an open backend has: a way to its servers, what calls functions there, and bells. Of one loop."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol

from fifoq.errors import ConfigurationError, FifoqError
from fifoq_redis.errors import SCHEMA, Unsent, newer
from fifoq_redis.functions import Runner
from fifoq_redis.keys import Keys, schema_key
from fifoq_redis.pubsub import Subscription
from fifoq_redis.topology import Node, Topology, find_route
from fifoq_redis.url import Location

OLDEST = (7, 0)
"""The first version with libraries of functions, which say what is to be checked before they run."""

EVICTS = "evicts keys when it is full"


class Server(NamedTuple):
    """What matters of a server's INFO."""

    version: str
    policy: str
    maxmemory: int
    appends: bool

    @classmethod
    def of(cls, info: bytes) -> "Server":
        said = dict(line.split(":", 1) for line in info.decode("utf-8", "replace").splitlines() if ":" in line)
        return cls(
            said.get("redis_version", ""),
            said.get("maxmemory_policy", "noeviction"),
            int(said.get("maxmemory", "0")),
            said.get("aof_enabled", "0") == "1",
        )

    def refuse(self, where: str) -> None:
        """Raises ConfigurationError if jobs would not be safe there, or not work."""
        if _version(self.version) < OLDEST:
            raise ConfigurationError(f"{where} is Redis {self.version}; fifoq needs Redis 7.0 or Valkey, or later.")
        if self.maxmemory and self._evicts:
            raise ConfigurationError(
                f"{where} {EVICTS}: its maxmemory-policy is {self.policy}. It would remove whole queues. Set "
                "maxmemory-policy noeviction (or one of volatile-*, which leaves fifoq's keys alone)."
            )

    def advice(self, where: str) -> tuple[str, ...]:
        notes: list[str] = []
        if self._evicts:
            notes.append(
                f"{where} {EVICTS}: its maxmemory-policy is {self.policy}. As soon as a maxmemory is set, "
                "whole queues may go. Set the policy to noeviction."
            )
        if not self.appends:
            notes.append(
                f"{where} has appendonly no: a restart loses every job since its last snapshot, and all of them if it "
                "makes none."
            )
        return tuple(notes)

    @property
    def _evicts(self) -> bool:
        """The others evict only keys with a time to live. fifoq's have none."""
        return self.policy.startswith("allkeys")


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else OLDEST


_FAILING_OVER = ("redis+cluster", "redis+sentinel")


class OpenStore:
    """One opening, from `open` to `close`."""

    def __init__(self, location: Location, channel: bytes, heard: Callable[[bytes], None]) -> None:
        self.location = location
        self.channel = channel
        self.route: Topology = find_route(location)
        self.runner = Runner(self.route, str(location))
        self._heard = heard
        self._bells: dict[Node, Subscription] = {}
        self._bells_by_key: dict[bytes, Subscription] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def check_schema(self) -> None:
        """Write down this version's schema if there is none. Raises ConfigurationError if it is of a newer one."""
        key = schema_key(self.location.prefix)
        await self.runner.command(key, "SETNX", key, SCHEMA)
        found = int(await self.runner.command(key, "GET", key, looks=True) or SCHEMA)
        if found > SCHEMA:
            raise newer(str(self.location), found)

    async def look(self) -> tuple[str, ...]:
        """What an operator should know of the servers. Raises ConfigurationError if jobs would not be safe there."""
        where, notes = str(self.location), dict[str, None]()
        for place in self.route.places():
            try:
                server = Server.of(await self.runner.tell(place, "INFO"))
            except ConfigurationError:
                notes[f"{where} does not let fifoq see its settings: grant the command INFO to its user."] = None
                continue
            server.refuse(where)
            notes.update(dict.fromkeys(server.advice(where)))
        if self.location.scheme in _FAILING_OVER:
            notes[f"{where} fails over: writes acknowledged just before may be lost, and jobs run again."] = None
        return tuple(notes)

    async def hear(self, key: bytes, timeout: float) -> bool:
        """Listen where the key is; return whether that is so within `timeout` seconds."""
        try:
            place = await self.route.place(key)
        except (Unsent, FifoqError):
            return False
        bell = self._bells.get(place)
        if bell is None:
            bell = self._bells[place] = Subscription(place, self.channel, self._heard)
        self._bells_by_key[key] = bell
        return bell.up or await bell.ready(timeout)

    def hears(self, key: bytes) -> bool:
        """Whether what is said where the key was last is heard."""
        bell = self._bells_by_key.get(key)
        return bell is not None and bell.up

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done meanwhile; it is cancelled at the end."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let go of all connections. Idempotent."""
        for task in list(self._tasks):
            task.cancel()
        for bell in self._bells.values():
            await bell.close()
        for place in self.route.places():
            await place.wire.close()

    def abandon(self) -> None:
        """This is a forked child: leave all connections to the parent."""
        for bell in self._bells.values():
            bell.abandon()
        for place in self.route.places():
            place.wire.abandon()


class Store(Protocol):
    """What a queue needs of its backend."""

    @property
    def channel(self) -> bytes:
        """Where the functions tell this backend what it waits for."""
        ...

    def run(
        self, keys: Keys, verb: str, *values: Any, blobs: Sequence[bytes] = (), late: bool = False
    ) -> Awaitable[Any]:
        """
        Call a function of the library; its reply is awaited. Raises a FifoqError, now or then.

        It is told `values`, plain data; `blobs` are what it is to keep unread.

        `late`: let those whom it tells of something hear of that before the reply comes, if the server can.
        """
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
