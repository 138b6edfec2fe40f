"""A queue in memory, its state for inspection, and a clock that a test moves by hand."""

from collections.abc import Iterator

import pytest

from fifoq.testing import Driver, ManualClock
from fifoq_memory import MemoryBackend
from fifoq_memory.queue import MemoryQueue
from fifoq_memory.queue_state import QueueState


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def driver(clock: ManualClock) -> Iterator[Driver]:
    driver = Driver(MemoryBackend("memory://", clock=clock))
    yield driver
    driver.close()


@pytest.fixture
def queue(driver: Driver) -> MemoryQueue:
    assert isinstance(driver.queue, MemoryQueue)
    return driver.queue


@pytest.fixture
def state(queue: MemoryQueue) -> QueueState:
    return queue._state
