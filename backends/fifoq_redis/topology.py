"""Ways to the server that holds a queue: to one server, or to the primary that sentinels name."""

import asyncio
from functools import partial
from typing import Any, Protocol

from redis import exceptions as driver
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot

from fifoq.errors import FifoqError
from fifoq_redis.connection import Connect, PipelinedConnection, ask, connect, drop
from fifoq_redis.encoding import encode
from fifoq_redis.errors import Lost, Refused, Unsent
from fifoq_redis.url import Address, Location


class Node:
    """One server: a wire for calls, and how to make further connections."""

    def __init__(self, connect: Connect, timeout: float) -> None:
        self.connect = connect
        self.wire = PipelinedConnection(connect, timeout)
        self.moves = 0
        """How often another server has been found to be this one: each of its connections counts only until then."""


class Topology(Protocol):
    """Finds the server of a key."""

    def known(self, key: bytes) -> Node | None:
        """The server that holds the key now, if that is known without asking."""
        ...

    async def place(self, key: bytes) -> Node:
        """The server that holds the key now. Raises Unsent or a FifoqError."""
        ...

    def follow(self, place: Node, code: str, rest: str) -> Node | None:
        """Where to go after the MOVED, ASK or READONLY that `place` answered with; None: nowhere."""
        ...

    def doubt(self, place: Node) -> None:
        """That server did not answer."""
        ...

    def places(self) -> list[Node]:
        """All that have been used."""
        ...


_SLOTS = encode("CLUSTER", "SLOTS")


class ClusterTopology(Topology):
    """Goes to the node that serves the slot of a key."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._places: dict[Address, Node] = {}
        self._owners: dict[int, Address] = {}
        """Of each slot; what a node said of one counts until all are asked for again."""
        self._stale = True
        self._looking = asyncio.Lock()

    def known(self, key: bytes) -> Node | None:
        owner = None if self._stale else self._owners.get(key_slot(key))
        return None if owner is None else self._at(owner)

    async def place(self, key: bytes) -> Node:
        if self._stale:
            await self._look()
        owner = self._owners.get(key_slot(key))
        if owner is None:
            self._stale = True
            raise Unsent("no node of the cluster serves the slot of this queue")
        return self._at(owner)

    def follow(self, place: Node, code: str, rest: str) -> Node | None:
        if code not in ("MOVED", "ASK"):
            return None
        slot, _, where = rest.partition(" ")
        host, _, port = where.rpartition(":")
        owner = Address(host.strip("[]") or self._address(place).host, int(port))
        if code == "MOVED":
            self._owners[int(slot)] = owner
        return self._at(owner)

    def doubt(self, place: Node) -> None:
        self._stale = True

    def places(self) -> list[Node]:
        return list(self._places.values())

    def _at(self, address: Address) -> Node:
        place = self._places.get(address)
        if place is None:
            place = Node(partial(connect, self._location, address), self._location.timeout)
            self._places[address] = place
        return place

    def _address(self, place: Node) -> Address:
        return next(address for address, known in self._places.items() if known is place)

    async def _look(self) -> None:
        """Ask any node that answers. Raises Unsent if none does."""
        async with self._looking:
            if not self._stale:
                return
            failures: list[str] = []
            for address in dict.fromkeys((*self._places, *self._location.addresses)):
                try:
                    slots = await self._at(address).wire.call(_SLOTS)
                except (Unsent, Lost, Refused, FifoqError) as error:
                    failures.append(f"{address}: {error}")
                    continue
                self._owners = _read_slots(slots, address)
                self._stale = False
                return
            raise Unsent(f"no node tells which slots it serves ({'; '.join(failures)})")


def _read_slots(ranges: list[Any], asked: Address) -> dict[int, Address]:
    """A node that does not know its own name is where it was asked."""
    owners: dict[int, Address] = {}
    for first, last, (host, port, *_), *_ in ranges:
        name = (host or b"").decode()
        owner = Address(asked.host if name in ("", "?") else name, int(port))
        owners.update(dict.fromkeys(range(first, last + 1), owner))
    return owners


class DirectTopology(Topology):
    """One server, for all keys."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._place = Node(self.connect, location.timeout)

    async def connect(self) -> AbstractConnection:
        return await connect(self.location, self.location.addresses[0], db=self.location.db)

    def known(self, key: bytes) -> Node | None:
        return self._place

    async def place(self, key: bytes) -> Node:
        return self._place

    def follow(self, place: Node, code: str, rest: str) -> Node | None:
        return None

    def doubt(self, place: Node) -> None:
        pass

    def places(self) -> list[Node]:
        return [self._place]


class SentinelTopology(DirectTopology):
    """The primary that sentinels name: asked for anew with each connection."""

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._sentinels = list(location.addresses)
        self._found: Address | None = None

    async def connect(self) -> AbstractConnection:
        address = await self._primary()
        connection = await connect(self.location, address, db=self.location.db)
        await self._check_role(connection, address)
        if address != self._found:
            self._found = address
            self._place.moves += 1
        return connection

    async def _check_role(self, connection: AbstractConnection, address: Address) -> None:
        try:
            role: Any = await ask(connection, self.location.timeout, "ROLE")
        except driver.NoPermissionError:
            return  # then it says so itself, if it is none
        except BaseException:
            await drop(connection)
            raise
        if role[0] != b"master":
            await drop(connection)
            raise Unsent(f"{address} is named as the primary of {self.location.service!r}, but is none yet")

    def follow(self, place: Node, code: str, rest: str) -> Node | None:
        """A primary that became a replica: the sentinels know another, or will soon."""
        if code == "READONLY":
            place.wire.hang_up()
            return place
        return None

    async def _primary(self) -> Address:
        failures: list[str] = []
        for sentinel in list(self._sentinels):
            try:
                found = await self._ask_sentinel(sentinel)
            except (Unsent, FifoqError, driver.RedisError) as error:
                failures.append(f"{sentinel}: {error}")
                continue
            if found is not None:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return found
            failures.append(f"{sentinel} does not know it")
        raise Unsent(f"no sentinel names the primary of {self.location.service!r} ({'; '.join(failures)})")

    async def _ask_sentinel(self, sentinel: Address) -> Address | None:
        location = self.location
        connection = await connect(location, sentinel, account=location.sentinel_account)
        try:
            command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", location.service or "")
            found: Any = await ask(connection, location.timeout, *command)
        finally:
            await drop(connection)
        return found and Address(found[0].decode(), int(found[1]))


def find_route(location: Location) -> Topology:
    """The way that the URL's scheme asks for."""
    match location.scheme:
        case "redis+cluster":
            return ClusterTopology(location)
        case "redis+sentinel":
            return SentinelTopology(location)
        case _:
            return DirectTopology(location)
