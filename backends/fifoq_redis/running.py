"""
Calls the functions at the server of a queue: it is given the library if it does not know them, and followed if the
queue has moved. All errors of the driver end here.
"""

from collections.abc import Awaitable
from typing import Any

from fifoq_redis.command import Word, encode, encode_call, encode_words
from fifoq_redis.faults import UNKNOWN, Lost, Refused, Unsent, named, words
from fifoq_redis.keys import Keys
from fifoq_redis.library import library
from fifoq_redis.places import Place, Route

MOVES = 5
"""So many times a call follows its queue to another server, or gives a server the library."""
_ELSEWHERE = ("MOVED", "ASK", "READONLY")
_ASKING = encode("ASKING")
_PING = encode("PING")


class Runner:
    """Calls functions and single commands, on whatever server has their key."""

    def __init__(self, route: Route, where: str) -> None:
        self._route = route
        self._where = where
        self._library = library()
        self._load = encode("FUNCTION", "LOAD", self._library.text)
        self._functions = {verb: encode_words("FCALL", name) for verb, name in self._library.functions.items()}

    def verb(self, keys: Keys, name: str, arguments: tuple[Word, ...], *, late: bool = False) -> Awaitable[Any]:
        """
        Call a function of the library on a queue's keys; its reply is awaited. That raises a FifoqError.

        `late`: what the function tells others is to leave the server before its reply.
        """
        command = encode_call(self._functions[name], keys.packed, 3 + len(keys.all), arguments)
        return self._run(keys.book, command, looks=name in self._library.looks, late=late)

    def command(self, key: bytes, *words: Word, looks: bool = False) -> Awaitable[Any]:
        """Run one command on a key; its reply is awaited. That raises a FifoqError."""
        return self._run(key, encode(*words), looks=looks)

    async def tell(self, place: Place, *words: Word) -> Any:
        """Run one command, which changes nothing, at that server. Raises a FifoqError."""
        try:
            return await place.wire.call(encode(*words))
        except Exception as error:
            self._tell(error, looks=True)
            raise

    def _tell(self, error: Exception, *, looks: bool) -> None:
        """Raise fifoq's error for this one, unless it is one already."""
        known = named(error, self._where, looks=looks)
        if known is not error:
            raise known from error

    async def _run(self, key: bytes, command: bytes, *, looks: bool, late: bool = False) -> Any:
        try:
            place = self._route.known(key) or await self._route.place(key)
            return await self._follow(place, command, late=late)
        except Exception as error:
            self._tell(error, looks=looks)
            raise

    async def _follow(self, place: Place, command: bytes, *, late: bool) -> Any:
        """Send it to the server of its key, wherever that has gone: what is refused there did not run."""
        asking, taught = False, 0
        for _ in range(MOVES):
            try:
                if taught == 2:
                    await self._teach(place)
                return await self._send(place, command, asking=asking, teaching=taught > 0, late=late)
            except (Unsent, Lost):
                self._route.doubt(place)
                raise
            except Refused as error:
                code, rest = words(error)
                if code == UNKNOWN:
                    if taught == 2:
                        raise
                    taught += 1
                    continue
                elsewhere = self._route.follow(place, code, rest) if code in _ELSEWHERE else None
                if elsewhere is None:
                    raise
                place, asking, taught = elsewhere, code == "ASK", 0
        raise Unsent(f"it moved {MOVES} times, and was nowhere")

    def _send(self, place: Place, command: bytes, *, asking: bool, teaching: bool, late: bool) -> Awaitable[Any]:
        """Send a command, at once with what it needs: nobody can make the server forget it in between."""
        if asking:  # of a node that is only just being given the slot
            command = _ASKING + command
        if teaching:
            command = self._load + command
        if late:
            # Whoever was given something to read first is written to last: 90 of 700 µs for whom the function tells.
            command = _PING + command
        return place.wire.call(command, replies=1 + asking + teaching + late)

    async def _teach(self, place: Place) -> None:
        """Give a server the library. Raises Refused, with the reason, if it does not take it."""
        try:
            await place.wire.call(self._load)
        except Refused as error:
            if "already exists" not in str(error):
                raise
