"""The whole contract, composed of its parts."""

from fifoq.testing.contract.capacity import CapacityCases
from fifoq.testing.contract.clocks import ClockCases
from fifoq.testing.contract.cost import CostCases
from fifoq.testing.contract.delay import DelayCases
from fifoq.testing.contract.entry import EntryCases
from fifoq.testing.contract.identity import IdentityCases
from fifoq.testing.contract.lease import LeaseCases
from fifoq.testing.contract.limits import LimitCases
from fifoq.testing.contract.model import ModelCases
from fifoq.testing.contract.order import OrderCases
from fifoq.testing.contract.pages import PageCases
from fifoq.testing.contract.pause import PauseCases
from fifoq.testing.contract.priority import PriorityCases
from fifoq.testing.contract.race import CancelledCallCases, RaceCases
from fifoq.testing.contract.rate import RateCases
from fifoq.testing.contract.removal import RemovalCases
from fifoq.testing.contract.repeat import RepeatCases
from fifoq.testing.contract.retention import RetentionCases
from fifoq.testing.contract.settle import SettleCases
from fifoq.testing.contract.store import StoreCases
from fifoq.testing.contract.wait import AheadCases, ExpectedCases, FinishedCases, WaitCases


class QueueContract(
    StoreCases,
    EntryCases,
    OrderCases,
    PriorityCases,
    DelayCases,
    RemovalCases,
    LimitCases,
    RateCases,
    CapacityCases,
    LeaseCases,
    SettleCases,
    RepeatCases,
    CancelledCallCases,
    IdentityCases,
    PauseCases,
    RetentionCases,
    PageCases,
    ClockCases,
    WaitCases,
    AheadCases,
    ExpectedCases,
    FinishedCases,
    CostCases,
    RaceCases,
    ModelCases,
):
    """
    The whole contract of a backend.

    Subclass it and give it one fixture, `make_backend`: a callable that takes a `Clock` (or None) and returns another
    unopened backend at each call, all of them on one store, which is fresh and empty for each test.
    """
