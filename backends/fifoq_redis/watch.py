"""Those who wait on one queue of one backend: what was last heard there, and whether the store knows of them."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from fifoq.ring import Ring


class Watch:
    """Those who wait for something to claim from one queue, on one loop."""

    floor = 1.0
    """Seconds after which whoever waits asks whether there is something that nobody told of."""

    def __init__(self) -> None:
        self.version = -1
        """The version of the queue that the last claim, or the last hint, was given at."""
        self.knows = b""
        """The tasks of the last claim, each between zero bytes."""
        self.noted = False
        """The store may have this backend among those who wait."""
        self.rung = 0
        """How often something was told."""
        self.idle: set[Ring] = set()
        self._until = 0.0

    @property
    def listening(self) -> bool:
        """Whether the store was told, not long ago, that somebody here waits."""
        return asyncio.get_running_loop().time() < self._until

    def listens(self, listening: bool) -> None:
        self._until = asyncio.get_running_loop().time() + self.floor if listening else 0.0

    def saw(self, version: int) -> bool:
        """Note the version that the queue has; return whether it is news."""
        before, self.version = self.version, version
        return before != version

    @contextmanager
    def waiting(self) -> "Generator[Ring]":
        """A ring for something to claim."""
        ring = Ring()
        self.idle.add(ring)
        try:
            yield ring
        finally:
            self.idle.discard(ring)

    def changed(self) -> bool:
        """Something may have become claimable; return whether anybody here wants to know."""
        self.rung += 1
        self.listens(False)
        for ring in self.idle:
            ring.give(True)
        return bool(self.idle)
