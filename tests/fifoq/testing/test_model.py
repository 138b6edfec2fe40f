"""The model as a backend passes the kit: the cases and the model agree. And the measure of the cases over processes."""

from collections.abc import Callable

import pytest

from fifoq.clock import Clock
from fifoq.queue import Backend
from fifoq.testing import Driver, MakeBackend, ModelBackend, ModelStore, QueueContract
from fifoq.testing.contract import cost
from fifoq.testing.contract.processes import Run, most_at_once

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
        """The model scans its list for every reply: the case must fail."""
        monkeypatch.setattr(cost, "FEW", 5)
        monkeypatch.setattr(cost, "MANY", 50)
        with pytest.raises(AssertionError, match="claim"):
            super().test_no_call_costs_more_for_what_else_there_is(make_backend, shape)


# ---- overlapping runs ----


def run(begun: int, ended: int) -> Run:
    return Run("id", None, None, 1, 1, begun, ended)


def test_runs_that_touch_do_not_overlap() -> None:
    assert most_at_once([run(0, 5), run(5, 9), run(9, 12)]) == 1


def test_runs_that_overlap_are_counted_at_their_peak() -> None:
    assert most_at_once([run(0, 10), run(2, 4), run(3, 8), run(5, 6)]) == 3
