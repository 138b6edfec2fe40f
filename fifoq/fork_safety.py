"""
Fork safety: a forked child lets go of the connections, files and threads that belong to its parent.

This module depends on their method `forked` only.
"""

import os
from typing import Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """An object that belongs to the process that opened it."""

    def forked(self) -> None:
        """Called in the child: let go of all that is the parent's, without any effect outside this process."""
        ...


_OPEN: "WeakSet[Inherited]" = WeakSet()


def watch_forks(opened: Inherited) -> None:
    """Call `opened.forked()` in each child that is forked from now on. Idempotent; `opened` is not kept alive."""
    _OPEN.add(opened)


def unwatch_forks(closed: Inherited) -> None:
    """Stop doing so: it is closed, so a child has nothing to let go of. Idempotent."""
    _OPEN.discard(closed)


def _forked() -> None:
    for each in list(_OPEN):
        each.forked()
    _OPEN.clear()


os.register_at_fork(after_in_child=_forked)
