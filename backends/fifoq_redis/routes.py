"""Ways to the server that holds a queue: to one server, or to the primary that sentinels name."""

from typing import Any

from redis import exceptions as driver
from redis.asyncio.connection import AbstractConnection

from fifoq.errors import FifoqError
from fifoq_redis.cluster import InCluster
from fifoq_redis.connecting import ask, connect, drop
from fifoq_redis.faults import Unsent
from fifoq_redis.location import Address, Location
from fifoq_redis.places import Place, Route


class Direct(Route):
    """One server, for all keys."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._place = Place(self.connect, location.timeout)

    async def connect(self) -> AbstractConnection:
        return await connect(self.location, self.location.addresses[0], db=self.location.db)

    def known(self, key: bytes) -> Place | None:
        return self._place

    async def place(self, key: bytes) -> Place:
        return self._place

    def follow(self, place: Place, code: str, rest: str) -> Place | None:
        return None

    def doubt(self, place: Place) -> None:
        pass

    def places(self) -> list[Place]:
        return [self._place]


class Watched(Direct):
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

    def follow(self, place: Place, code: str, rest: str) -> Place | None:
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


def find_route(location: Location) -> Route:
    """The way that the URL's scheme asks for."""
    match location.scheme:
        case "redis+cluster":
            return InCluster(location)
        case "redis+sentinel":
            return Watched(location)
        case _:
            return Direct(location)
