"""The model behind the seam passes the kit: what the cases say and what the model does are the same."""

from collections.abc import Callable

import pytest

from fifoq.clock import Clock
from fifoq.queue import Backend
from fifoq.testing import Driver, MakeBackend, ModelBackend, ModelStore, QueueContract
from fifoq.testing.contract import cost

Shape = Callable[[Driver, int], None]


class TestModel(QueueContract):
    @pytest.fixture
    def make_backend(self) -> MakeBackend:
        stores: dict[int, ModelStore] = {}

        def make(clock: Clock | None) -> Backend:
            return ModelBackend(stores.setdefault(0, ModelStore(clock)))

        return make

    @pytest.mark.parametrize("shape", [cost.one_deep_line, cost.many_keys])
    def test_no_call_costs_more_for_what_else_there_is(
        self, make_backend: MakeBackend, shape: Shape, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The model scans its list for every answer: the case must tell."""
        monkeypatch.setattr(cost, "FEW", 5)
        monkeypatch.setattr(cost, "MANY", 50)
        with pytest.raises(AssertionError, match="claim"):
            super().test_no_call_costs_more_for_what_else_there_is(make_backend, shape)
