"""The log of the fault tests of Redis: a history of everything that happens."""

from collections.abc import Callable
from typing import Any

import pytest

from fifoq.queue import Backend
from fifoq.testing.history import MemoryLog, WatchedBackend


@pytest.fixture
def log(plant: Callable[[Callable[[Backend], Any]], None]) -> MemoryLog:
    """A log, in which each Fifoq made from now on also writes its leases and settlements."""
    log = MemoryLog()
    plant(lambda backend: WatchedBackend(backend, log))
    return log
