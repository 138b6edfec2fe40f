"""
Calls the functions at the server of a queue: it is given the library if it does not know them, and followed if the
queue has moved. All errors of the driver end here.
"""

import re
from collections.abc import Awaitable, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple

from fifoq_redis.encoding import Word, encode, encode_call, encode_words
from fifoq_redis.errors import UNKNOWN, Lost, Refused, Unsent, named, words
from fifoq_redis.keys import Keys
from fifoq_redis.topology import Node, Topology

_ROOT = files("fifoq_redis").joinpath("lua")
_FILES = (
    *("lib/runtime", "lib/state", "lib/jobs", "lib/lines", "lib/leases"),
    *("verbs/put", "verbs/claim", "verbs/operations", "verbs/queries"),
)
"""In order: each knows those before it."""
VERBS = (
    "put",
    "claim",
    "settle",
    "extend",
    "cancel",
    "requeue",
    "skip",
    "configure",
    "purge",
    "watch",
    "listen",
    "pass_on",
    "get",
    "find",
    "stats",
    "blocked",
    "audit",
)
_LOOKS = re.compile(r"^verb\('(\w+)', 'no-writes'", re.MULTILINE)


class Library(NamedTuple):
    """The functions, as a server is given them."""

    name: str
    text: bytes
    functions: dict[str, bytes]
    """By verb, what it is called there."""
    looks: frozenset[str]
    """Verbs that write nothing: they run wherever a server answers, and whether they ran makes no difference."""


@cache
def library() -> Library:
    """Return the library."""
    text = "\n".join([_read(name) for name in _FILES])
    name = f"fifoq_{sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]}"
    opening = f"#!lua name={name}\nlocal LIBRARY = '{name}'\n"
    functions = {verb: f"{name}_{verb}".encode() for verb in VERBS}
    return Library(name, (opening + text).encode(), functions, frozenset(_LOOKS.findall(text)))


def _read(piece: str) -> str:
    return _ROOT.joinpath(f"{piece}.lua").read_text("utf-8")


MOVES = 5
"""So many times a call follows its queue to another server, or gives a server the library."""
_ELSEWHERE = ("MOVED", "ASK", "READONLY")
_ASKING = encode("ASKING")
_PING = encode("PING")


class _Step(NamedTuple):
    """How far a call has come on its way."""

    asking: bool = False
    """To a node that is only just being given the slot."""
    taught: int = 0
    """How often this server did not know the function."""
    moves: int = 0


_FIRST = _Step()


class Runner:
    """Calls functions and single commands, on whatever server has their key."""

    def __init__(self, route: Topology, where: str) -> None:
        self._route = route
        self._where = where
        self._library = library()
        self._load = encode("FUNCTION", "LOAD", self._library.text)
        self._functions = {verb: encode_words("FCALL", name) for verb, name in self._library.functions.items()}

    def verb(
        self, keys: Keys, name: str, values: Sequence[Any], blobs: Sequence[bytes], *, late: bool
    ) -> Awaitable[Any]:
        """
        Call a function of the library on a queue's keys; its reply is awaited. That raises a FifoqError.

        `late`: what the function tells others is to leave the server before its reply.
        """
        command = encode_call(self._functions[name], keys.packed, 3 + len(keys.all), values, blobs)
        return self._run(keys.book, command, looks=name in self._library.looks, late=late)

    def command(self, key: bytes, *words: Word, looks: bool = False) -> Awaitable[Any]:
        """Run one command on a key; its reply is awaited. That raises a FifoqError."""
        return self._run(key, encode(*words), looks=looks)

    async def tell(self, place: Node, *words: Word) -> Any:
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
        """Send it to the server of its key, wherever that has gone. One coroutine: each call of a job has this one."""
        try:
            place, step = self._route.known(key) or await self._route.place(key), _FIRST
            while True:
                try:
                    if step.taught == 2:
                        await self._teach(place)
                    return await self._send(place, command, step, late=late)
                except (Unsent, Lost):
                    self._route.doubt(place)
                    raise
                except Refused as error:
                    place, step = self._next(place, step, error)
        except Exception as error:
            self._tell(error, looks=looks)
            raise

    def _next(self, place: Node, step: _Step, error: Refused) -> tuple[Node, _Step]:
        """Where to send again what was refused, so did not run, and how. Raises the refusal if there is no way."""
        code, rest = words(error)
        moves = step.moves + 1
        if code == UNKNOWN and step.taught < 2:
            following = place, _Step(step.asking, step.taught + 1, moves)
        else:
            elsewhere = self._route.follow(place, code, rest) if code in _ELSEWHERE else None
            if elsewhere is None:
                raise error
            following = elsewhere, _Step(code == "ASK", 0, moves)
        if moves == MOVES:
            raise Unsent(f"it moved {MOVES} times, and was nowhere")
        return following

    def _send(self, place: Node, command: bytes, step: _Step, *, late: bool) -> Awaitable[Any]:
        """Send a command, at once with what it needs: nobody can make the server forget it in between."""
        if step is _FIRST and not late:
            return place.wire.call(command)
        if step.asking:  # of a node that is only just being given the slot
            command = _ASKING + command
        if step.taught:
            command = self._load + command
        if late:
            # Whoever was given something to read first is written to last: 90 of 700 µs for whom the function tells.
            command = _PING + command
        return place.wire.call(command, replies=1 + step.asking + (step.taught > 0) + late)

    async def _teach(self, place: Node) -> None:
        """Give a server the library. Raises Refused, with the reason, if it does not take it."""
        try:
            await place.wire.call(self._load)
        except Refused as error:
            if "already exists" not in str(error):
                raise
