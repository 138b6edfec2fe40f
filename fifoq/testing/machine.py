"""
The state machine: Hypothesis chooses the operations, every reply must be the model's, and a difference is shrunk to its
shortest run.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from fifoq.testing import operations
from fifoq.testing.clock import ManualClock
from fifoq.testing.driver import MakeBackend
from fifoq.testing.pair import Pair

T = TypeVar("T")

EXAMPLES = int(os.environ.get("FIFOQ_TEST_EXAMPLES", "0"))
"""How many examples to try; unset, the same hundred in each run."""
STEPS = 50


class HypothesisDraw:
    """Draws from Hypothesis, which shrinks towards the first option."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def one(self, options: Sequence[T]) -> T:
        return self._data.draw(st.sampled_from(options))


class QueueMachine(RuleBasedStateMachine):
    """Each operation is a rule; that the queue reads as the model does is an invariant."""

    def __init__(self, make_backend: MakeBackend, clock: ManualClock) -> None:
        super().__init__()
        self.pair = Pair(make_backend, clock)

    def teardown(self) -> None:
        self.pair.close()

    @invariant()
    def the_queue_reads_as_the_model(self) -> None:
        self.pair.compare_all()


def _rule(operation: Callable[[operations.Draw, Pair], None], number: int) -> Any:
    def step(self: QueueMachine, data: st.DataObject) -> None:
        operation(HypothesisDraw(data), self.pair)

    step.__name__ = f"{operation.__name__}_{number}" if number else operation.__name__
    return rule(data=st.data())(step)


def _add_rules() -> None:
    """Add each operation as often as its weight asks: Hypothesis chooses every rule equally often."""
    for operation, weight in operations.OPERATIONS.items():
        for number in range((weight + 2) // 3):
            setattr(QueueMachine, f"{operation.__name__}_{number}", _rule(operation, number))


_add_rules()


def run_machine(make_backend: MakeBackend, clock: ManualClock) -> None:
    """Run the machine against one store, a fresh queue for each example."""

    class Machine(QueueMachine):
        def __init__(self) -> None:
            super().__init__(make_backend, clock)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES or 100,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=not EXAMPLES,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
