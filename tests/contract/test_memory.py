"""The in-memory backend keeps the contract."""

import pytest

from fifoq.testing import MakeBackend, QueueContract
from fifoq.testing.mutation import MakeStore


class TestMemory(QueueContract):
    @pytest.fixture
    def make_backend(self, make_store: MakeStore) -> MakeBackend:
        return make_store()
