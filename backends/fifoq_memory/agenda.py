"""What is to happen when: the timers of a queue, the ends of its retentions. It knows entries and times, no jobs."""

from heapq import heapify, heappop, heappush

SLACK = 1_024
"""So much garbage is never worth a compaction."""


class Agenda:
    """
    One time per entry, taken out in order of (time, entry).

    `times` is the truth. Each of its entries has a slip in the heap at its time or earlier: a time that moves away, as
    a lease does with each heartbeat, costs nothing until its slip surfaces. Slips of what was cleared are garbage,
    dropped when they surface or outnumber the rest; they are plain numbers, so no removed job stays in memory.
    """

    __slots__ = ("heap", "times")

    def __init__(self) -> None:
        self.times: dict[int, int] = {}
        self.heap: list[tuple[int, int]] = []

    def set(self, entry: int, at: int) -> None:
        """Give the entry a time, instead of the one it has."""
        old = self.times.get(entry)
        self.times[entry] = at
        if old is None or at < old:
            heappush(self.heap, (at, entry))

    def clear(self, entry: int) -> None:
        """Take the entry's time away, if it has one."""
        if self.times.pop(entry, None) is not None and len(self.heap) > 2 * len(self.times) + SLACK:
            self._compact()

    def due(self, now: int, limit: int) -> list[int]:
        """Take out up to `limit` entries whose time has come."""
        heap, times = self.heap, self.times
        taken: list[int] = []
        while heap and heap[0][0] <= now and len(taken) < limit:
            if self._settle_first():
                entry = heappop(heap)[1]
                del times[entry]
                taken.append(entry)
        return taken

    def next(self) -> int | None:
        """The earliest time."""
        while self.heap:
            if self._settle_first():
                return self.heap[0][0]
        return None

    def _settle_first(self) -> bool:
        """Whether the first slip is at its entry's time; if not, it is dropped, or put where it belongs."""
        at, entry = self.heap[0]
        true = self.times.get(entry)
        if true == at:
            return True
        heappop(self.heap)
        if true is not None and true > at:
            heappush(self.heap, (true, entry))
        return False

    def _compact(self) -> None:
        self.heap = [(at, entry) for entry, at in self.times.items()]
        heapify(self.heap)
