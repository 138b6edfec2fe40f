"""The keys that are blocked, oldest first: a sorted set of (since, key) that can be read from any place on."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

CHUNK = 512
"""A chunk of twice this length is split."""

Since = tuple[int, str]
"""When a key was blocked, and the key."""


class Blocked:
    """A sorted list in chunks, so that one enters or leaves in the middle of many without moving them all."""

    __slots__ = ("chunks",)

    def __init__(self) -> None:
        self.chunks: list[list[Since]] = []

    def add(self, item: Since) -> None:
        if not self.chunks:
            self.chunks.append([item])
            return
        index = min(self._chunk(item), len(self.chunks) - 1)
        chunk = self.chunks[index]
        insort(chunk, item)
        if len(chunk) >= 2 * CHUNK:
            self.chunks.insert(index + 1, chunk[CHUNK:])
            del chunk[CHUNK:]

    def remove(self, item: Since) -> None:
        index = self._chunk(item)
        chunk = self.chunks[index]
        del chunk[bisect_left(chunk, item)]
        if not chunk:
            del self.chunks[index]

    def after(self, item: Since | None) -> Iterator[Since]:
        """What stands above `item`, or all, in order."""
        start = 0 if item is None else self._chunk(item)
        for index in range(start, len(self.chunks)):
            chunk = self.chunks[index]
            yield from chunk if item is None or index > start else chunk[bisect_right(chunk, item) :]

    def _chunk(self, item: Since) -> int:
        """The first chunk whose last is not below `item`."""
        return bisect_left(self.chunks, item, key=lambda chunk: chunk[-1])
