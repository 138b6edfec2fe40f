"""An open Redis store: its topology, its function calls, its subscriptions, and the checks of its servers."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from fifoq.clock import Clock
from fifoq.errors import ConfigurationError, FifoqError
from fifoq_redis.errors import SCHEMA, Unsent, newer
from fifoq_redis.functions import FunctionCaller
from fifoq_redis.keys import names_key, schema_key
from fifoq_redis.pubsub import Subscription
from fifoq_redis.topology import Node, Topology, topology_of
from fifoq_redis.url import Location

OLDEST = (7, 0)
"""The first version with libraries of functions, whose flags the server checks before they run."""

EVICTS = "evicts keys when it is full"
_FAILING_OVER = ("redis+cluster", "redis+sentinel")


# ---- checks of a server ----


class Server(NamedTuple):
    """The fields of a server's INFO that matter to fifoq."""

    version: str
    policy: str
    maxmemory: int
    appends: bool

    @classmethod
    def of(cls, info: bytes) -> "Server":
        fields = dict(line.split(":", 1) for line in info.decode("utf-8", "replace").splitlines() if ":" in line)
        return cls(
            fields.get("redis_version", ""),
            fields.get("maxmemory_policy", "noeviction"),
            int(fields.get("maxmemory", "0")),
            fields.get("aof_enabled", "0") == "1",
        )

    def refuse(self, where: str) -> None:
        """Raise ConfigurationError if jobs would not be safe on this server, or not work."""
        if _version(self.version) < OLDEST:
            raise ConfigurationError(f"{where} is Redis {self.version}; fifoq needs Redis 7.0 or Valkey, or later.")
        if self.maxmemory and self._evicts:
            raise ConfigurationError(
                f"{where} {EVICTS}: its maxmemory-policy is {self.policy}. It would remove whole queues. Set "
                "maxmemory-policy noeviction (or one of volatile-*, which leaves fifoq's keys alone)."
            )

    def advice(self, where: str) -> tuple[str, ...]:
        """Return what an operator should change on this server."""
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
        """Whether fifoq's keys may be evicted: they have no time to live, so volatile-* policies keep them."""
        return self.policy.startswith("allkeys")


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else OLDEST


# ---- the open store ----


def not_open(location: Location) -> ConfigurationError:
    """Return the error for a use of a store that is not open, or not any more."""
    return ConfigurationError(f"{location} is not open. Open it first, as `async with` on a Fifoq does.")


class OpenStore:
    """The store between `open` and `close` of a backend, on one loop."""

    def __init__(
        self, location: Location, channel: bytes, clock: Clock | None, received: Callable[[bytes], None]
    ) -> None:
        self.location = location
        self.channel = channel
        """The channel in which functions notify this backend."""
        self._clock = clock
        self.topology: Topology = topology_of(location)
        self.caller = FunctionCaller(self.topology, str(location))
        self._received = received
        self._subscriptions: dict[Node, Subscription] = {}
        self._subscription_of: dict[bytes, Subscription] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def time(self) -> str | int:
        """The time of a test clock; empty for the server's own."""
        return "" if self._clock is None else self._clock.now()

    async def check_schema(self) -> None:
        """Store this version's schema if there is none. Raises ConfigurationError if there is a newer one."""
        key = schema_key(self.location.prefix)
        await self.caller.command(key, "SETNX", key, SCHEMA)
        found = int(await self.caller.command(key, "GET", key, reads=True) or SCHEMA)
        if found > SCHEMA:
            raise newer(str(self.location), found)

    async def check_servers(self) -> tuple[str, ...]:
        """Return advice on the servers. Raises ConfigurationError if jobs would not be safe there."""
        where, notes = str(self.location), dict[str, None]()
        for node in self.topology.nodes():
            try:
                server = Server.of(await self.caller.command_at(node, "INFO"))
            except ConfigurationError:
                notes[f"{where} does not let fifoq see its settings: grant the command INFO to its user."] = None
                continue
            server.refuse(where)
            notes.update(dict.fromkeys(server.advice(where)))
        if self.location.scheme in _FAILING_OVER:
            notes[f"{where} fails over: writes acknowledged just before may be lost, and jobs run again."] = None
        return tuple(notes)

    async def register(self, name: str) -> None:
        """Add a queue's name to those of the store."""
        key = names_key(self.location.prefix)
        await self.caller.command(key, "SADD", key, name)

    async def subscribe(self, key: bytes, timeout: float) -> bool:
        """
        Subscribe at the server of `key`; return whether that is done within `timeout` seconds.

        Raises ConfigurationError if the store was closed: a waiter that outlives it must not subscribe again.
        """
        if self._closed:
            raise not_open(self.location)
        try:
            node = await self.topology.node_of(key)
        except (Unsent, FifoqError):
            return False
        subscription = self._subscriptions.get(node)
        if subscription is None:
            subscription = self._subscriptions[node] = Subscription(node, self.channel, self._received)
        self._subscription_of[key] = subscription
        return subscription.up or await subscription.ready(timeout)

    def is_subscribed(self, key: bytes) -> bool:
        """Whether notifications from the server of `key`, as last known, are received."""
        subscription = self._subscription_of.get(key)
        return subscription is not None and subscription.up

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """
        Run a coroutine in the background; it is cancelled when the store closes.

        Raises ConfigurationError if the store was closed.
        """
        if self._closed:
            work.close()
            raise not_open(self.location)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        self._closed = True
        # A task cancelled before its first step would not run at all, and those that wait for its result would hang.
        await asyncio.sleep(0)
        for task in list(self._tasks):
            task.cancel()
        for subscription in self._subscriptions.values():
            await subscription.close()
        for node in self.topology.nodes():
            await node.connection.close()

    def abandon(self) -> None:
        """Leave all connections to the parent: this process is a forked child."""
        for subscription in self._subscriptions.values():
            subscription.abandon()
        for node in self.topology.nodes():
            node.connection.abandon()
