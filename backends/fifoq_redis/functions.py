"""
The Lua library, and calls of its functions at the server of a queue.

A server that does not know the library gets it; a queue that has moved is followed. All errors of the driver end here.
"""

import re
from collections.abc import Awaitable, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple

from fifoq_redis.encoding import Word, encode, encode_call, encode_words
from fifoq_redis.errors import UNKNOWN, Lost, Refused, Unsent, translate, words
from fifoq_redis.keys import Keys
from fifoq_redis.topology import Node, Topology

_ROOT = files("fifoq_redis").joinpath("lua")
_FILES = (
    *("lib/runtime", "lib/state", "lib/jobs", "lib/lines", "lib/leases", "lib/waiters"),
    *("verbs/put", "verbs/claim", "verbs/wait", "verbs/operations", "verbs/queries"),
)
"""In load order: each file uses those before it."""
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
_READS = re.compile(r"^verb\('(\w+)', 'no-writes'", re.MULTILINE)
"""Finds the verbs that write nothing."""

MAX_MOVES = 5
"""How often a call follows its queue to another server, or loads the library, at most."""
_ELSEWHERE = ("MOVED", "ASK", "READONLY")
_ASKING = encode("ASKING")
_PING = encode("PING")


# ---- the library ----


class Library(NamedTuple):
    """The library of functions, as it is loaded into a server."""

    name: str
    text: bytes
    functions: dict[str, bytes]
    """The names of its functions, by verb."""
    reads: frozenset[str]
    """Verbs that write nothing, so that a call without a reply can be repeated freely."""


@cache
def library() -> Library:
    """Return the library."""
    text = "\n".join([_read(name) for name in _FILES])
    name = f"fifoq_{sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]}"
    opening = f"#!lua name={name}\nlocal LIBRARY = '{name}'\n"
    functions = {verb: f"{name}_{verb}".encode() for verb in VERBS}
    return Library(name, (opening + text).encode(), functions, frozenset(_READS.findall(text)))


def _read(name: str) -> str:
    return _ROOT.joinpath(f"{name}.lua").read_text("utf-8")


# ---- calls ----


class _Step(NamedTuple):
    """The state of a call on its way to the server of its key."""

    asking: bool = False
    """To a node that is importing the slot: the call begins with ASKING."""
    loads: int = 0
    """How often this server did not know the function."""
    moves: int = 0


_FIRST = _Step()


class FunctionCaller:
    """Calls functions and single commands at the server that has their key."""

    def __init__(self, topology: Topology, where: str) -> None:
        self._topology = topology
        self._where = where
        self._library = library()
        self._load = encode("FUNCTION", "LOAD", self._library.text)
        self._functions = {verb: encode_words("FCALL", name) for verb, name in self._library.functions.items()}

    def call(
        self, keys: Keys, verb: str, *values: Any, blobs: Sequence[bytes] = (), late: bool = False
    ) -> Awaitable[Any]:
        """
        Call a function of the library on a queue's keys; its reply is awaited. That raises a FifoqError.

        The function reads `values`, plain data, and stores `blobs` unread. `late`: its notifications are to leave the
        server before its reply.
        """
        command = encode_call(self._functions[verb], keys.packed, 3 + len(keys.all), values, blobs)
        return self._run(keys.state, command, reads=verb in self._library.reads, late=late)

    def command(self, key: bytes, *words: Word, reads: bool = False) -> Awaitable[Any]:
        """Run one command on a key; its reply is awaited. That raises a FifoqError."""
        return self._run(key, encode(*words), reads=reads)

    async def command_at(self, node: Node, *words: Word) -> Any:
        """Run one command, which changes nothing, at a given server. Raises a FifoqError."""
        try:
            return await node.connection.call(encode(*words))
        except Exception as error:
            self._raise(error, reads=True)
            raise

    def _raise(self, error: Exception, *, reads: bool) -> None:
        """Raise the FifoqError for an error of the driver; return if it is one already."""
        known = translate(error, self._where, reads=reads)
        if known is not error:
            raise known from error

    async def _run(self, key: bytes, command: bytes, *, reads: bool, late: bool = False) -> Any:
        """Send a command to the server of its key, and follow that. The one coroutine of every call."""
        try:
            node, step = self._topology.known_node(key) or await self._topology.node_of(key), _FIRST
            while True:
                try:
                    if step.loads == 2:
                        await self._load_library(node)
                    return await self._send(node, command, step, late=late)
                except (Unsent, Lost):
                    self._topology.failed(node)
                    raise
                except Refused as error:
                    node, step = self._next(node, step, error)
        except Exception as error:
            self._raise(error, reads=reads)
            raise

    def _next(self, node: Node, step: _Step, error: Refused) -> tuple[Node, _Step]:
        """Return where and how to send a refused command again; it did not run. Else raises the refusal."""
        code, rest = words(error)
        moves = step.moves + 1
        if code == UNKNOWN and step.loads < 2:
            following = node, _Step(step.asking, step.loads + 1, moves)
        else:
            elsewhere = self._topology.redirect(node, code, rest) if code in _ELSEWHERE else None
            if elsewhere is None:
                raise error
            following = elsewhere, _Step(code == "ASK", 0, moves)
        if moves == MAX_MOVES:
            raise Unsent(f"its queue moved {MAX_MOVES} times, and was not found")
        return following

    def _send(self, node: Node, command: bytes, step: _Step, *, late: bool) -> Awaitable[Any]:
        """Send a command together with ASKING or the library if it needs them, so that nothing comes in between."""
        if step is _FIRST and not late:
            return node.connection.call(command)
        if step.asking:
            command = _ASKING + command
        if step.loads:
            command = self._load + command
        if late:
            # The server writes to the client that it read from first last, so with a PING in front the notified worker
            # gets its message before this reply: 90 of 700 µs.
            command = _PING + command
        return node.connection.call(command, replies=1 + step.asking + (step.loads > 0) + late)

    async def _load_library(self, node: Node) -> None:
        """Load the library into a server. Raises Refused, with the reason, if it is refused."""
        try:
            await node.connection.call(self._load)
        except Refused as error:
            if "already exists" not in str(error):
                raise
