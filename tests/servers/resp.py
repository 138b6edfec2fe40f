"""The commands in what a client sends: arrays of bulk strings, and nothing else."""

from collections.abc import Iterator


class Commands:
    """Cuts a stream into whole commands, however it arrives."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[tuple[list[bytes], bytes]]:
        """Yield each command that is whole now: its words, and as it was sent."""
        self._data += data
        while found := _read(self._data):
            words, end = found
            raw, self._data = self._data[:end], self._data[end:]
            yield words, raw


def _read(data: bytes) -> tuple[list[bytes], int] | None:
    """The first command in `data` and where it ends, or None if it is not whole. Raises ValueError if it is none."""
    if not data:
        return None
    head = _line(data, 0, b"*")
    if head is None:
        return None
    count, at = head
    words: list[bytes] = []
    for _ in range(count):
        size = _line(data, at, b"$")
        if size is None or len(data) < size[1] + size[0] + 2:
            return None
        length, at = size
        words.append(data[at : at + length])
        at += length + 2
    return words, at


def _line(data: bytes, at: int, sign: bytes) -> tuple[int, int] | None:
    """The number behind a sign, and where the next line begins."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    if data[at : at + 1] != sign:
        raise ValueError(f"not a command: {data[at:end][:50]!r}")
    return int(data[at + 1 : end]), end + 2
