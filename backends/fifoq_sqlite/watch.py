"""Who waits for what on one queue: for anything to claim, or for the end of one job. Of one loop."""

from fifoq.ring import Ring, Rings


class Watch:
    """The calls that wait on one queue."""

    def __init__(self) -> None:
        self._changes = 0
        self._seen = 0
        self._version = -1
        """The newest version of the queue that was heard of."""
        self._idle: set[Ring] = set()
        self.ends = Rings()
        """They ring once a job may have ended."""

    @property
    def waiting(self) -> bool:
        """Whether anybody waits."""
        return bool(self._idle or self.ends)

    def claiming(self) -> None:
        """A claim begins: it will see what has changed so far."""
        self._seen = self._changes

    async def change(self, timeout: float) -> bool:
        """Return True as soon as something has changed since the last claim began, False after `timeout` seconds."""
        if self._changes != self._seen:
            self._seen = self._changes
            return True
        ring = Ring()
        self._idle.add(ring)
        try:
            return await ring.within(timeout) is not None
        finally:
            self._idle.discard(ring)

    def know(self, version: int) -> bool:
        """The queue has come to this version; return whether that is news."""
        before, self._version = self._version, max(self._version, version)
        return -1 < before < version

    def changed(self) -> None:
        """Something may have become claimable."""
        self._changes += 1
        for ring in self._idle:
            ring.give(True)

    def ended(self, id: str) -> None:
        """This job has ended, or was removed."""
        self.ends.give(id, True)

    def anything_ended(self) -> None:
        """Any job may have: look again."""
        self.ends.give_all(True)
