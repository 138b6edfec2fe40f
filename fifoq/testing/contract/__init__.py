"""
The conformance kit: the contract that every backend must pass, as named cases and one state machine.

Each part is a class of cases whose names are sentences of the contract. QueueContract is all of them; ProcessContract
is for stores that several processes share.
"""

import pkgutil

import pytest

# Before the parts are imported: pytest then explains their assertions in other projects' suites as well.
pytest.register_assert_rewrite(*(f"{__name__}.{part.name}" for part in pkgutil.iter_modules(__path__)))

from fifoq.testing.contract.processes import ProcessContract  # noqa: E402
from fifoq.testing.contract.suite import QueueContract  # noqa: E402

__all__ = ["ProcessContract", "QueueContract"]
