"""Who waits for what on one queue: for anything to claim, or for the end of one job. Of one loop."""

import asyncio
from collections.abc import Generator, Iterable
from contextlib import contextmanager


class Watch:
    """The calls that wait on one queue."""

    def __init__(self) -> None:
        self._changes = 0
        self._seen = 0
        self._version = -1
        """The newest version of the queue that was heard of."""
        self._idle: set[Bell] = set()
        self._ends: dict[str, set[Bell]] = {}

    @property
    def waiting(self) -> bool:
        """Whether anybody waits."""
        return bool(self._idle or self._ends)

    def claiming(self) -> None:
        """A claim begins: it will see what has changed so far."""
        self._seen = self._changes

    async def change(self, timeout: float) -> bool:
        """Return True as soon as something has changed since the last claim began, False after `timeout` seconds."""
        if self._changes != self._seen:
            self._seen = self._changes
            return True
        bell = Bell()
        self._idle.add(bell)
        try:
            return await bell.rings(timeout)
        finally:
            self._idle.discard(bell)

    @contextmanager
    def expecting(self, id: str) -> "Generator[Bell]":
        """A bell that rings once the job may have ended."""
        bell = Bell()
        bells = self._ends.setdefault(id, set())
        bells.add(bell)
        try:
            yield bell
        finally:
            bells.discard(bell)
            if not bells and self._ends.get(id) is bells:
                del self._ends[id]

    def know(self, version: int) -> bool:
        """The queue has come to this version; return whether that is news."""
        before, self._version = self._version, max(self._version, version)
        return -1 < before < version

    def changed(self) -> None:
        """Something may have become claimable."""
        self._changes += 1
        if self._idle:
            _ring(self._idle)

    def ended(self, id: str) -> None:
        """This job has ended, or was removed."""
        _ring(self._ends.get(id, ()))

    def anything_ended(self) -> None:
        """Any job may have: look again."""
        for bells in self._ends.values():
            _ring(bells)


class Bell:
    """Rings once, for one who waits."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def ring(self, heard: bool = True) -> None:
        if not self._future.done():
            self._future.set_result(heard)

    async def rings(self, timeout: float) -> bool:
        """Return True once it rings, or False after `timeout` seconds."""
        timer = asyncio.get_running_loop().call_later(timeout, self.ring, False)
        try:
            return await self._future
        finally:
            timer.cancel()


def _ring(bells: Iterable[Bell]) -> None:
    for bell in list(bells):
        bell.ring()
