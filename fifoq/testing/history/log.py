"""Where events are written: a file per process that survives its death, or a list."""

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from fifoq.record import State
from fifoq.testing.history.events import EVENTS, Answer, Event, How

_SUFFIX = ".history"
_ENUMS = {"answer": Answer, "how": How, "state": State}


class Log(Protocol):
    """What events are written to."""

    def write(self, event: Event) -> None:
        """Keep `event`, for good when this returns. May be called from any thread."""
        ...


class MemoryLog:
    """A log within one process."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def write(self, event: Event) -> None:
        self.events.append(event)


class FileLog:
    """
    A log in a file of its own, under `directory`: one JSON line per event.

    Each event is one write to a file opened for appending. It is with the kernel when `write` returns, so that killing
    the process loses at most the event that it was about to write.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def write(self, event: Event) -> None:
        os.write(self._file, encode(event))

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_logs(directory: Path) -> Iterator[Event]:
    """
    Yield the events of all the file logs under `directory`, file by file.

    A last line that was cut short is left out. Raises ValueError for any other line that is no event.
    """
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        *lines, _torn = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            try:
                yield decode(line)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"line {number} of {path} is no event: {line[:200]!r}") from error


def encode(event: Event) -> bytes:
    """Return the line of one event, with its end."""
    return json.dumps([type(event).__name__, *event]).encode() + b"\n"


def decode(line: bytes) -> Event:
    """Return the event of a line. Raises ValueError, KeyError or TypeError if it is none."""
    name, *values = json.loads(line)
    kind: Any = EVENTS[name]
    event: Any = kind(*values)
    for field, enum in _ENUMS.items():
        if getattr(event, field, None) is not None:
            event = event._replace(**{field: enum(getattr(event, field))})
    return event
