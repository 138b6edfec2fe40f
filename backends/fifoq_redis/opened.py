"""What an open backend has: a way to its servers, what calls functions there, and bells. Of one loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fifoq.errors import ConfigurationError, FifoqError
from fifoq_redis.bell import Bell
from fifoq_redis.checking import Server
from fifoq_redis.faults import SCHEMA, Unsent, newer
from fifoq_redis.keys import schema_key
from fifoq_redis.location import Location
from fifoq_redis.places import Place, Route
from fifoq_redis.routes import find_route
from fifoq_redis.running import Runner

_FAILING_OVER = ("redis+cluster", "redis+sentinel")


class Opened:
    """One opening, from `open` to `close`."""

    def __init__(self, location: Location, channel: bytes, heard: Callable[[bytes], None]) -> None:
        self.location = location
        self.channel = channel
        self.route: Route = find_route(location)
        self.runner = Runner(self.route, str(location))
        self._heard = heard
        self._bells: dict[Place, Bell] = {}
        self._bells_by_key: dict[bytes, Bell] = {}
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
            bell = self._bells[place] = Bell(place, self.channel, self._heard)
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
