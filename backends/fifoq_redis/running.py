"""
Runs scripts at the server of a queue: by their digest, by their text if the server does not know them, elsewhere if the
queue has moved. All errors of the driver end here.
"""

from typing import Any

from redis import exceptions as driver

from fifoq_redis.connecting import encode
from fifoq_redis.faults import Lost, Unsent, named, words
from fifoq_redis.keys import Keys
from fifoq_redis.places import Place, Route
from fifoq_redis.scripts import load

MOVES = 5
"""So many times a call follows its queue to another server."""
_ELSEWHERE = ("MOVED", "ASK", "READONLY")
Word = bytes | str | int


class Runner:
    """Runs scripts and single commands, on whatever server has their key."""

    def __init__(self, route: Route, where: str) -> None:
        self._route = route
        self._where = where

    async def script(self, keys: Keys, name: str, arguments: tuple[Word, ...]) -> Any:
        """Run a script on a queue's keys and return its reply. Raises a FifoqError."""
        script = load(name)
        rest = (len(keys.all), *keys.all, *arguments)
        try:
            try:
                return await self._follow(keys.book, encode("EVALSHA", script.sha, *rest))
            except driver.NoScriptError:
                # Nothing ran: the server was started, or its scripts were flushed, since it was last told.
                return await self._follow(keys.book, encode("EVAL", script.text, *rest))
        except Exception as error:
            self._tell(error, looks=script.looks)
            raise

    async def command(self, key: bytes, *words: Word, looks: bool = False) -> Any:
        """Run one command on a key. Raises a FifoqError."""
        try:
            return await self._follow(key, encode(*words))
        except Exception as error:
            self._tell(error, looks=looks)
            raise

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

    async def _follow(self, key: bytes, command: bytes) -> Any:
        """Send it to the server of the key, wherever that has gone: what is refused there did not run."""
        place, asks = await self._route.place(key), False
        for _ in range(MOVES):
            try:
                if asks:  # of a node that is only just being given the slot
                    return await place.wire.call(encode("ASKING") + command, replies=2)
                return await place.wire.call(command)
            except (Unsent, Lost):
                self._route.doubt(place)
                raise
            except driver.ResponseError as error:
                code, rest = words(error)
                elsewhere = self._route.follow(place, code, rest) if code in _ELSEWHERE else None
                if elsewhere is None:
                    raise
                place, asks = elsewhere, code == "ASK"
        raise Unsent(f"it moved {MOVES} times, and was nowhere")
