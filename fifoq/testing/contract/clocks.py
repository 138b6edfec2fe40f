"""The clock: the backend's is the only one, and it never goes back."""

from fifoq.clock import SECOND
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, spec


class ClockCases(Cases):
    """Section 2, `The backend's clock is the only clock`."""

    def test_times_are_the_clocks_whole_microseconds(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec())
        assert driver.record(a).created_at == clock.now()

    def test_set_back_it_runs_on_from_the_last_time_used(self, driver: Driver, clock: ManualClock) -> None:
        a, _ = driver.put(spec(), spec())
        last = clock.now()
        clock.set(last - 3_600 * SECOND)
        (c,) = driver.put(spec())
        assert driver.record(c).created_at == last
        clock.advance(5)
        assert driver.lease().started_at == last + 5 * SECOND
        assert driver.record(a).started_at == last + 5 * SECOND

    def test_set_back_it_neither_ends_leases_early_nor_keeps_them(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec(id="a"))
        driver.lease(lease=10 * SECOND)
        clock.set(clock.now() - 1_000 * SECOND)
        assert driver.claim() == []
        clock.advance(9.999_999)
        assert driver.claim() == []
        clock.advance(0.000_001)
        assert driver.claim() == ["a"]

    def test_set_back_and_reopened_it_still_runs_on(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec(id="a", delay=10))
        last = clock.now()
        driver.twin()
        clock.set(last - 1_000 * SECOND)
        driver.reopen()
        (b,) = driver.put(spec())
        assert driver.record(b).created_at == last
        clock.advance(10)
        assert driver.claim(2) == [b, "a"]

    def test_set_ahead_it_goes_ahead(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec(id="a", delay=1_000))
        clock.set(clock.now() + 1_000 * SECOND)
        assert driver.claim() == ["a"]

    def test_all_backends_of_a_store_share_its_time(self, driver: Driver, clock: ManualClock) -> None:
        other = driver.twin()
        driver.put(spec(id="a"))
        last = clock.now()
        clock.set(last - 100 * SECOND)
        other.put(spec(id="b"))
        assert [record.created_at for record in driver.find()] == [last, last]
