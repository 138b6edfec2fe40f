"""Contract, all points at once: in random runs of operations, every reply is the model's."""

import os

import pytest

from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import MakeBackend
from fifoq.testing.operations import run
from fifoq.testing.pair import Pair

EXAMPLES = int(os.environ.get("FIFOQ_TEST_EXAMPLES", "0"))
SEEDS = range(40 + EXAMPLES // 5)
STEPS = 250


class ModelCases(Cases):
    """DESIGN section 9, points 1 and 2."""

    def test_every_reply_is_the_models_in_any_order_of_operations(
        self, make_backend: MakeBackend, clock: ManualClock
    ) -> None:
        from fifoq.testing.machine import run_machine  # Only here: Hypothesis is slow to load.

        run_machine(make_backend, clock)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_every_reply_is_the_models_in_a_long_random_run(
        self, make_backend: MakeBackend, clock: ManualClock, seed: int
    ) -> None:
        pair = Pair(make_backend, clock)
        try:
            run(pair, seed, STEPS)
        finally:
            pair.close()
