"""The model behind the seam passes the kit: what the cases say and what the model does are the same."""

import pytest

from fifoq.clock import Clock
from fifoq.queue import Backend
from fifoq.testing import MakeBackend, ModelBackend, ModelStore, QueueContract


class TestModel(QueueContract):
    @pytest.fixture
    def make_backend(self) -> MakeBackend:
        stores: dict[int, ModelStore] = {}

        def make(clock: Clock | None) -> Backend:
            return ModelBackend(stores.setdefault(0, ModelStore(clock)))

        return make
