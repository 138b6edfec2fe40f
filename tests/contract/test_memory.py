"""The in-memory backend keeps the contract."""

from functools import partial
from uuid import uuid4

import pytest
from fifoq_memory import MemoryBackend

from fifoq.clock import Clock
from fifoq.queue import Backend
from fifoq.testing import MakeBackend, QueueContract


def memory(url: str, clock: Clock | None) -> Backend:
    return MemoryBackend(url, clock=clock)


class TestMemory(QueueContract):
    @pytest.fixture
    def make_backend(self) -> MakeBackend:
        return partial(memory, f"memory://{uuid4().hex}")
