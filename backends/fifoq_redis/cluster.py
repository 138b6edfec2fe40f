"""The nodes of a cluster, and which of them serves a slot. What is not known, or was wrong, is asked for anew."""

import asyncio
from functools import partial
from typing import Any

from redis.crc import key_slot

from fifoq.errors import FifoqError
from fifoq_redis.command import encode
from fifoq_redis.connecting import connect
from fifoq_redis.faults import Lost, Refused, Unsent
from fifoq_redis.location import Address, Location
from fifoq_redis.places import Place, Route

_SLOTS = encode("CLUSTER", "SLOTS")


class InCluster(Route):
    """Goes to the node that serves the slot of a key."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._places: dict[Address, Place] = {}
        self._owners: dict[int, Address] = {}
        """Of each slot; what a node said of one counts until all are asked for again."""
        self._stale = True
        self._looking = asyncio.Lock()

    def known(self, key: bytes) -> Place | None:
        owner = None if self._stale else self._owners.get(key_slot(key))
        return None if owner is None else self._at(owner)

    async def place(self, key: bytes) -> Place:
        if self._stale:
            await self._look()
        owner = self._owners.get(key_slot(key))
        if owner is None:
            self._stale = True
            raise Unsent("no node of the cluster serves the slot of this queue")
        return self._at(owner)

    def follow(self, place: Place, code: str, rest: str) -> Place | None:
        if code not in ("MOVED", "ASK"):
            return None
        slot, _, where = rest.partition(" ")
        host, _, port = where.rpartition(":")
        owner = Address(host.strip("[]") or self._address(place).host, int(port))
        if code == "MOVED":
            self._owners[int(slot)] = owner
        return self._at(owner)

    def doubt(self, place: Place) -> None:
        self._stale = True

    def places(self) -> list[Place]:
        return list(self._places.values())

    def _at(self, address: Address) -> Place:
        place = self._places.get(address)
        if place is None:
            place = Place(partial(connect, self._location, address), self._location.timeout)
            self._places[address] = place
        return place

    def _address(self, place: Place) -> Address:
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
