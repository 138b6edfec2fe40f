"""The model behind the seam passes the kit: what the cases say and what the model does are the same."""

from collections.abc import Callable

import pytest

from fifoq.clock import Clock
from fifoq.queue import Backend
from fifoq.testing import Driver, MakeBackend, ModelBackend, ModelStore, QueueContract
from fifoq.testing.contract.cost import SHAPES

Shape = Callable[[Driver, int], None]


class TestModel(QueueContract):
    @pytest.fixture
    def make_backend(self) -> MakeBackend:
        stores: dict[int, ModelStore] = {}

        def make(clock: Clock | None) -> Backend:
            return ModelBackend(stores.setdefault(0, ModelStore(clock)))

        return make

    @pytest.mark.parametrize("shape", SHAPES)
    def test_no_call_costs_more_for_what_else_there_is(self, make_backend: MakeBackend, shape: Shape) -> None:
        """The model scans its list for every answer: the case must tell."""
        with pytest.raises(AssertionError, match="claim"):
            super().test_no_call_costs_more_for_what_else_there_is(make_backend, shape)
