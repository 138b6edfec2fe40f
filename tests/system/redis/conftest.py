"""What the fault tests of Redis have in common: a history of all that happens."""

from collections.abc import Callable
from typing import Any

import pytest

from fifoq import backends as connect
from fifoq.clock import Clock
from fifoq.queue import BackendFactory
from fifoq.testing.history import MemoryLog, WatchedBackend


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> MemoryLog:
    """A log, in which each Fifoq made from now on also writes its leases and settlements."""
    log = MemoryLog()
    find: Callable[..., BackendFactory] = connect._load  # pyright: ignore[reportPrivateUsage]

    def load(*found: Any) -> Callable[..., Any]:
        def make(url: str, *, clock: Clock | None = None) -> Any:
            return WatchedBackend(find(*found)(url, clock=clock), log)

        return make

    monkeypatch.setattr(connect, "_load", load)
    return log
