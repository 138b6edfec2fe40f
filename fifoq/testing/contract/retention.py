"""Contract, points 5 and 21: ended jobs are kept for their retention, and every job is counted."""

import pytest

from fifoq.clock import SECOND
from fifoq.record import Cancel, Fail, Settlement, State, Succeed
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases, check_soundness
from fifoq.testing.driver import Driver, spec


class RetentionCases(Cases):
    """Points 5 and 21."""

    @pytest.mark.parametrize(("asked", "settled"), [(10, 0), (0, 10), (10, 3), (3, 10)])
    def test_a_job_is_kept_for_the_longer_time(
        self, driver: Driver, clock: ManualClock, asked: int, settled: int
    ) -> None:
        (a,) = driver.put(spec(retain=asked * SECOND))
        clock.advance(50)
        driver.succeed(driver.lease(), retain=settled * SECOND)
        clock.advance(9.999_999)
        assert driver.purge() == 0
        clock.advance(0.000_001)
        assert driver.states(a) == [State.SUCCEEDED]
        assert driver.purge() == 1
        assert driver.get(a) is None
        assert driver.stats()[3:8] == (0, 0, 0, 1, 1)

    def test_a_job_kept_for_no_time_is_gone_as_it_ends(self, driver: Driver) -> None:
        for end in (driver.succeed, driver.fail, driver.end_cancelled):
            (a,) = driver.put(spec())
            assert end(driver.lease(), retain=0) is not None
            assert driver.get(a) is None
        (a,) = driver.put(spec())
        assert driver.cancel(a) == [(State.CANCELLED, True, None)]
        assert driver.get(a) is None
        assert (driver.stats().purged, driver.stats().accepted) == (4, 4)

    def test_a_job_that_expires_is_kept_as_long_as_it_asked(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec(id="gone", expires=1), spec(id="kept", expires=1, retain=10 * SECOND))
        clock.advance(1)
        driver.claim()
        assert driver.states("gone", "kept") == [None, State.CANCELLED]
        clock.advance(10)
        assert driver.purge() == 1

    def test_a_purge_removes_no_more_than_its_limit(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(*(spec() for _ in range(10)))
        for lease in driver.leases(10):
            driver.succeed(lease, retain=SECOND)
        clock.advance(1)
        assert [driver.purge(4) for _ in range(4)] == [4, 4, 2, 0]

    def test_jobs_that_ended_together_are_purged_oldest_first_but_for_those_requeued(
        self, driver: Driver, clock: ManualClock
    ) -> None:
        ids = driver.put(*(spec() for _ in range(7)))
        one, between, *rest = driver.leases(7)
        fine, failed = Succeed(b"", SECOND), Fail(b"", False, SECOND)
        ends = (fine, failed, Cancel("asked", SECOND), failed, fine, Succeed(b"", 2 * SECOND))
        together = [Settlement(run.spec.id, run.token, end) for run, end in zip((one, *rest), ends, strict=True)]
        driver.run(driver.queue.settle(driver.call(), together[::-1]))
        driver.succeed(between, retain=SECOND)
        driver.requeue(ids[2])
        clock.advance(1)
        for limit, left in ((1, ids[1:]), (1, ids[2:]), (1, [ids[2], *ids[4:]]), (10, [ids[2], ids[6]])):
            driver.purge(limit)
            assert [record.spec.id for record in driver.find()] == left
            check_soundness(driver)
        clock.advance(1)
        assert driver.purge() == 1
        assert driver.claim() == [ids[2]]

    def test_a_purge_removes_nothing_that_has_not_ended(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec("k"), spec("k"), spec(delay=1))
        driver.lease()
        clock.advance(10**7)
        assert driver.purge() == 0

    def test_a_halted_job_is_never_purged(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec("k"))
        driver.fail(driver.lease(), halt=True, retain=0)
        clock.advance(10**7)
        assert driver.purge() == 0
        assert driver.record(a).halted

    def test_a_skipped_job_is_kept_from_its_skip(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec("k"))
        driver.fail(driver.lease(), halt=True, retain=10 * SECOND)
        clock.advance(1_000)
        driver.skip(a)
        clock.advance(9.999_999)
        assert driver.purge() == 0
        clock.advance(0.000_001)
        assert driver.purge() == 1

    def test_a_job_skipped_and_kept_for_no_time_is_gone(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        driver.fail(driver.lease(), halt=True, retain=0)
        assert driver.skip(a) == [(State.FAILED, True, None)]
        assert driver.get(a) is None
        assert driver.claim() == [b]

    def test_a_requeued_job_is_not_purged_for_its_earlier_end(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec())
        driver.fail(driver.lease(), retain=SECOND)
        driver.requeue(a)
        clock.advance(10)
        assert driver.purge() == 0
        assert driver.claim() == [a]

    def test_the_retention_of_a_retry_counts_if_it_ends_cancelled(self, driver: Driver, clock: ManualClock) -> None:
        for settle in (driver.retry, driver.release):
            (a,) = driver.put(spec())
            lease = driver.lease()
            driver.cancel(a)
            settle(lease, retain=10 * SECOND)
            assert driver.states(a) == [State.CANCELLED]
            clock.advance(10)
            assert driver.purge() == 1

    def test_accepted_is_the_sum_of_all_the_others_at_every_instant(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(*(spec(f"k{number}", retain=number % 3 * SECOND) for number in range(9)), spec(delay=1))
        leases = driver.leases(8)
        steps = (
            lambda: driver.succeed(leases[0], retain=0),
            lambda: driver.fail(leases[1], halt=True, retain=0),
            lambda: driver.retry(leases[2], after=5),
            lambda: driver.release(leases[3]),
            lambda: driver.end_cancelled(leases[4], retain=0),
            lambda: driver.fail(leases[5], retain=SECOND),
            lambda: driver.cancel(leases[6].spec.id, leases[2].spec.id),
            lambda: clock.advance(20),
            lambda: driver.claim(5),
            lambda: driver.purge(1),
            lambda: driver.requeue(leases[5].spec.id, leases[1].spec.id),
            lambda: driver.purge(100),
        )
        for step in steps:
            step()
            check_soundness(driver)
            assert driver.stats().accepted == 10
