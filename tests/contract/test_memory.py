"""The memory backend keeps the contract."""

import pytest

from fifoq.testing import MakeBackend, QueueContract
from fifoq.testing.contract.model import ModelCases
from fifoq.testing.mutation import MakeStore
from fifoq_memory import indexes, jobs


class TestMemory(QueueContract):
    @pytest.fixture
    def make_backend(self, make_store: MakeStore) -> MakeBackend:
        return make_store()


class TestMemoryOfTinyPages(ModelCases):
    """The edges of its indexes, at sizes that a comparison with the model reaches."""

    @pytest.fixture
    def make_backend(self, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> MakeBackend:
        monkeypatch.setattr(indexes, "SLACK", 0)
        monkeypatch.setattr(jobs, "SLACK", 0)
        monkeypatch.setattr(indexes, "CHUNK", 1)
        monkeypatch.setattr(indexes, "PAGE_BITS", 1)
        return make_store()
