"""
For tests of backends: a clock that a test moves, the reference model, drivers, and the conformance kit.

    import pytest
    from fifoq.testing import QueueContract

    class TestMyBackend(QueueContract):
        @pytest.fixture
        def make_backend(self, tmp_path):
            return lambda clock: MyBackend(f"mine:///{tmp_path}/jobs", clock=clock)

For tests of apps: `fresh_store` and `fresh_store_fixture`, a new store for each test; `drain`, `enqueued` and
`assert_enqueued`, with forms for threads (`…_sync`).
"""

from typing import TYPE_CHECKING, Any

from fifoq.testing.clock import ManualClock
from fifoq.testing.driver import AsyncDriver, Driver, MakeBackend, spec
from fifoq.testing.enqueued import (
    assert_enqueued,
    assert_enqueued_sync,
    drain,
    drain_sync,
    enqueued,
    enqueued_sync,
)
from fifoq.testing.fresh import fresh_store, fresh_store_fixture
from fifoq.testing.lost_replies import LostReplies
from fifoq.testing.model import Model
from fifoq.testing.model_backend import ModelBackend, ModelStore

if TYPE_CHECKING:
    from fifoq.testing.contract import ProcessContract, QueueContract

__all__ = [
    "AsyncDriver",
    "Driver",
    "LostReplies",
    "MakeBackend",
    "ManualClock",
    "Model",
    "ModelBackend",
    "ModelStore",
    "ProcessContract",
    "QueueContract",
    "assert_enqueued",
    "assert_enqueued_sync",
    "drain",
    "drain_sync",
    "enqueued",
    "enqueued_sync",
    "fresh_store",
    "fresh_store_fixture",
    "spec",
]


def __getattr__(name: str) -> Any:
    """Load the kit on first use: it alone needs pytest."""
    if name not in ("ProcessContract", "QueueContract"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fifoq.testing import contract

    return getattr(contract, name)
