"""
The Lua, read from its files and put together. Its text is constant; data travels as keys and arguments.

A script is the pieces it is made of and its own file. It knows no queue and no connection.
"""

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

_ROOT = files("fifoq_redis").joinpath("lua")

_LOOK = ("keys", "changes", "book", "jobs", "gates", "ready", "lines")
_CHANGE = ("keys", "changes", "book", "replies", "jobs", "gates", "ready", "lines", "moves", "firing", "ending")
_OPERATE = (*_CHANGE, "changing")

_PIECES = {
    "put": _CHANGE,
    "claim": _CHANGE,
    "settle": _CHANGE,
    "extend": _CHANGE,
    "cancel": _OPERATE,
    "requeue": _OPERATE,
    "skip": _OPERATE,
    "configure": _CHANGE,
    "purge": _CHANGE,
    "watch": _LOOK,
    "listen": _LOOK,
    "pass_on": _CHANGE,
    "get": _LOOK,
    "find": _LOOK,
    "stats": _LOOK,
    "blocked": _LOOK,
    "audit": ("keys", "changes", "book"),
}
SCRIPTS = tuple(_PIECES)

_LOOKS = frozenset({"get", "find", "stats", "blocked", "audit"})
"""They write nothing, so they run wherever a server answers."""


class Script(NamedTuple):
    """One script, as the server is given it."""

    name: str
    text: bytes
    sha: bytes
    looks: bool
    """It changes nothing: whether it ran makes no difference."""


@cache
def load(name: str) -> Script:
    """Return the script of that name."""
    parts = [_first_line(name), *[_ROOT.joinpath(f"{part}.lua").read_text("utf-8") for part in (*_PIECES[name], name)]]
    text = "\n".join(parts).encode()
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest().encode(), name in _LOOKS)


def _first_line(name: str) -> str:
    """What the server should check before it runs the script; only a put is refused when memory is full."""
    if name == "put":
        return "#!lua"
    return "#!lua flags=no-writes" if name in _LOOKS else "#!lua flags=allow-oom"
