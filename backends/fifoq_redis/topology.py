"""Which server has a queue: the only one, the primary that sentinels name, or a node of a cluster."""

import asyncio
from functools import partial
from typing import Any, Protocol

from redis import exceptions as driver
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot

from fifoq.errors import FifoqError
from fifoq_redis.connection import Connect, PipelinedConnection, connect, drop, query
from fifoq_redis.encoding import encode
from fifoq_redis.errors import Lost, Refused, Unsent
from fifoq_redis.url import Address, Location


class Node:
    """One server: its connection for calls, and a way to make others."""

    def __init__(self, connect: Connect, timeout: float) -> None:
        self.connect = connect
        self.connection = PipelinedConnection(connect, timeout)
        self.moves = 0
        """How often another server took its role; connections made before belong to the former one."""


class Topology(Protocol):
    """Finds the server of a key."""

    def known_node(self, key: bytes) -> Node | None:
        """Return the server of the key if it is known without a query."""
        ...

    async def node_of(self, key: bytes) -> Node:
        """Return the server of the key. Raises Unsent or a FifoqError."""
        ...

    def redirect(self, node: Node, code: str, rest: str) -> Node | None:
        """Return the node to try after a MOVED, ASK or READONLY of `node`; None if there is none."""
        ...

    def failed(self, node: Node) -> None:
        """Note that a server did not answer."""
        ...

    def nodes(self) -> list[Node]:
        """Return all servers used so far."""
        ...


# ---- a cluster ----


_SLOTS = encode("CLUSTER", "SLOTS")


class ClusterTopology(Topology):
    """A cluster: the node that serves the slot of a key."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._nodes: dict[Address, Node] = {}
        self._owners: dict[int, Address] = {}
        """The owner of each slot; a MOVED changes one, the next CLUSTER SLOTS all."""
        self._stale = True
        self._reading = asyncio.Lock()

    def known_node(self, key: bytes) -> Node | None:
        owner = None if self._stale else self._owners.get(key_slot(key))
        return None if owner is None else self._at(owner)

    async def node_of(self, key: bytes) -> Node:
        if self._stale:
            await self._read_owners()
        owner = self._owners.get(key_slot(key))
        if owner is None:
            self._stale = True
            raise Unsent("no node of the cluster serves the slot of this queue")
        return self._at(owner)

    def redirect(self, node: Node, code: str, rest: str) -> Node | None:
        if code not in ("MOVED", "ASK"):
            return None
        slot, _, where = rest.partition(" ")
        host, _, port = where.rpartition(":")
        owner = Address(host.strip("[]") or self._address(node).host, int(port))
        if code == "MOVED":
            self._owners[int(slot)] = owner
        return self._at(owner)

    def failed(self, node: Node) -> None:
        self._stale = True

    def nodes(self) -> list[Node]:
        return list(self._nodes.values())

    def _at(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            node = Node(partial(connect, self._location, address), self._location.timeout)
            self._nodes[address] = node
        return node

    def _address(self, node: Node) -> Address:
        return next(address for address, known in self._nodes.items() if known is node)

    async def _read_owners(self) -> None:
        """Read the owners of all slots from the first node that answers. Raises Unsent if none does."""
        async with self._reading:
            if not self._stale:
                return
            failures: list[str] = []
            for address in dict.fromkeys((*self._nodes, *self._location.addresses)):
                try:
                    slots = await self._at(address).connection.call(_SLOTS)
                except (Unsent, Lost, Refused, FifoqError) as error:
                    failures.append(f"{address}: {error}")
                    continue
                self._owners = _read_slots(slots, address)
                self._stale = False
                return
            raise Unsent(f"no node of the cluster answered CLUSTER SLOTS ({'; '.join(failures)})")


def _read_slots(ranges: list[Any], queried: Address) -> dict[int, Address]:
    """Return the owner of each slot. A node that does not know its own name has the queried address."""
    owners: dict[int, Address] = {}
    for first, last, (host, port, *_), *_ in ranges:
        name = (host or b"").decode()
        owner = Address(queried.host if name in ("", "?") else name, int(port))
        owners.update(dict.fromkeys(range(first, last + 1), owner))
    return owners


# ---- one server, or the primary that sentinels name ----


class DirectTopology(Topology):
    """One server for all keys."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._node = Node(self.connect, location.timeout)

    async def connect(self) -> AbstractConnection:
        return await connect(self.location, self.location.addresses[0], db=self.location.db)

    def known_node(self, key: bytes) -> Node | None:
        return self._node

    async def node_of(self, key: bytes) -> Node:
        return self._node

    def redirect(self, node: Node, code: str, rest: str) -> Node | None:
        return None

    def failed(self, node: Node) -> None:
        pass

    def nodes(self) -> list[Node]:
        return [self._node]


class SentinelTopology(DirectTopology):
    """The primary that sentinels name: queried again for each connection."""

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
            self._node.moves += 1
        return connection

    async def _check_role(self, connection: AbstractConnection, address: Address) -> None:
        try:
            role: Any = await query(connection, self.location.timeout, "ROLE")
        except driver.NoPermissionError:
            return  # a replica then refuses the first write
        except driver.ConnectionError as error:
            await drop(connection)
            raise Unsent(f"{address} was asked for its role, and gave no answer: {error}") from error
        except BaseException:
            await drop(connection)
            raise
        if role[0] != b"master":
            await drop(connection)
            raise Unsent(f"{address} is named as the primary of {self.location.service!r}, but is none yet")

    def redirect(self, node: Node, code: str, rest: str) -> Node | None:
        """Reconnect after a READONLY: the primary became a replica, and the sentinels name another, or will soon."""
        if code == "READONLY":
            node.connection.hang_up()
            return node
        return None

    async def _primary(self) -> Address:
        failures: list[str] = []
        for sentinel in list(self._sentinels):
            try:
                found = await self._query_sentinel(sentinel)
            except (Unsent, FifoqError, driver.RedisError) as error:
                failures.append(f"{sentinel}: {error}")
                continue
            if found is not None:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return found
            failures.append(f"{sentinel} does not know it")
        raise Unsent(f"no sentinel names the primary of {self.location.service!r} ({'; '.join(failures)})")

    async def _query_sentinel(self, sentinel: Address) -> Address | None:
        location = self.location
        connection = await connect(location, sentinel, account=location.sentinel_account)
        try:
            command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", location.service or "")
            found: Any = await query(connection, location.timeout, *command)
        finally:
            await drop(connection)
        return found and Address(found[0].decode(), int(found[1]))


def topology_of(location: Location) -> Topology:
    """Return the topology of the URL's scheme."""
    match location.scheme:
        case "redis+cluster":
            return ClusterTopology(location)
        case "redis+sentinel":
            return SentinelTopology(location)
        case _:
            return DirectTopology(location)
