"""
What a forked child finds open and must not use: connections, files and threads of its parent's.

It does not know what these are.
"""

import os
from typing import Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """Something that belongs to the process that opened it."""

    def forked(self) -> None:
        """This is a child: let go of all that is the parent's, without a word to anybody."""
        ...


_OPEN: "WeakSet[Inherited]" = WeakSet()


def watch_forks(one: Inherited) -> None:
    """Have `one.forked()` called in each child that is forked from now on. Idempotent; it is not kept alive."""
    _OPEN.add(one)


def unwatch_forks(one: Inherited) -> None:
    """It is closed: a child need not know of it. Idempotent."""
    _OPEN.discard(one)


def _forked() -> None:
    for one in list(_OPEN):
        one.forked()
    _OPEN.clear()


os.register_at_fork(after_in_child=_forked)
