"""Fresh stores of the memory backend: the fixture of its contract and of the mutants planted in it."""

from uuid import uuid4

import pytest

from fifoq.testing import MakeBackend
from fifoq.testing.mutation import MakeStore
from fifoq_memory import MemoryBackend


@pytest.fixture
def make_store() -> MakeStore:
    def make() -> MakeBackend:
        url = f"memory://{uuid4().hex}"
        return lambda clock: MemoryBackend(url, clock=clock)

    return make
