"""The base of every case: a virtual clock, and a driver of one queue of a fresh store."""

from collections.abc import Iterator

import pytest

from fifoq.testing.clock import ManualClock
from fifoq.testing.driver import Driver, MakeBackend


class Cases:
    """The base of all parts of the contract."""

    @pytest.fixture
    def make_backend(self) -> MakeBackend:
        """Overridden by the suite of a backend: see QueueContract."""
        raise RuntimeError("A subclass of QueueContract defines the fixture make_backend.")

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def driver(self, make_backend: MakeBackend, clock: ManualClock) -> Iterator[Driver]:
        """Yield a driver of a fresh queue. After each case the store must be sound."""
        driver = Driver(make_backend(clock))
        try:
            yield driver
            check_soundness(driver)
        finally:
            driver.close()


def check_soundness(driver: Driver) -> None:
    """Assert that no index differs from the jobs, and that the counts add up to the accepted jobs."""
    audit, stats = driver.audit(), driver.stats()
    assert audit.differences == ()
    kept = (stats.scheduled, stats.waiting, stats.running, stats.succeeded, stats.failed, stats.cancelled)
    assert audit.jobs == sum(kept)
    assert stats.accepted == sum(kept) + stats.purged
