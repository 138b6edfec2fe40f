"""
The Lua, read from its files and put together: one library of functions, named by its text.

A server is given it once, keeps it with its data, and makes its functions once: what a call of one job allocates is a
third of what it would be if each call brought its script. Processes of two versions have a library each. The text is
constant; data travels as keys and arguments.
"""

import re
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

_ROOT = files("fifoq_redis").joinpath("lua")
_PIECES = (
    "calling",
    "order",
    "keys",
    "changes",
    "book",
    "replies",
    "gates",
    "jobs",
    "timers",
    "ready",
    "lines",
    "retention",
    "moves",
    "firing",
    "claiming",
    "leasing",
    "waiting",
    "ending",
    "settling",
    "changing",
    "verbs",
)
"""What the verbs are made of. Each knows those before it."""
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
    pieces = [_read(piece) for piece in _PIECES]
    text = "\n".join([*pieces, *[f"do\n{_read(verb)}end\n" for verb in VERBS]])
    name = f"fifoq_{sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]}"
    opening = f"#!lua name={name}\nlocal LIBRARY = '{name}'\n"
    functions = {verb: f"{name}_{verb}".encode() for verb in VERBS}
    return Library(name, (opening + text).encode(), functions, frozenset(_LOOKS.findall(text)))


def _read(piece: str) -> str:
    return _ROOT.joinpath(f"{piece}.lua").read_text("utf-8")
