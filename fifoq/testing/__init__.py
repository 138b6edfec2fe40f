"""
What tests of fifoq are made of: a clock that stands still, the reference model, and the proof that a backend is right.

    import pytest
    from fifoq.testing import QueueContract

    class TestMyBackend(QueueContract):
        @pytest.fixture
        def make_backend(self, tmp_path):
            return lambda clock: MyBackend(f"mine:///{tmp_path}/jobs", clock=clock)
"""

import pytest

pytest.register_assert_rewrite("fifoq.testing.contract", "fifoq.testing.driver", "fifoq.testing.pair")

from fifoq.testing.clock import ManualClock  # noqa: E402
from fifoq.testing.contract import QueueContract  # noqa: E402
from fifoq.testing.driver import Driver, MakeBackend, spec  # noqa: E402
from fifoq.testing.model import Model  # noqa: E402
from fifoq.testing.model_backend import ModelBackend, ModelStore  # noqa: E402

__all__ = ["Driver", "MakeBackend", "ManualClock", "Model", "ModelBackend", "ModelStore", "QueueContract", "spec"]
