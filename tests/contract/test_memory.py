"""The in-memory backend keeps the contract."""

import pytest

from fifoq.testing import MakeBackend, QueueContract
from fifoq.testing.contract.model import ModelCases
from fifoq.testing.mutation import MakeStore
from fifoq_memory import indexes as agenda
from fifoq_memory import indexes as blocked
from fifoq_memory import indexes as register
from fifoq_memory import jobs as ready


class TestMemory(QueueContract):
    @pytest.fixture
    def make_backend(self, make_store: MakeStore) -> MakeBackend:
        return make_store()


class TestMemoryOfTinyPages(ModelCases):
    """What its structures do at their edges, at sizes that a comparison with the model can reach."""

    @pytest.fixture
    def make_backend(self, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> MakeBackend:
        monkeypatch.setattr(agenda, "SLACK", 0)
        monkeypatch.setattr(ready, "SLACK", 0)
        monkeypatch.setattr(blocked, "CHUNK", 1)
        monkeypatch.setattr(register, "PAGE_BITS", 1)
        return make_store()
