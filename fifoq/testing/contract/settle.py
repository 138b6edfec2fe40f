"""Contract, points 13, 14 and 16: the effect of each outcome on a job."""

from fifoq.clock import SECOND
from fifoq.record import Retry, Settlement, State, Succeed
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import KEPT, Driver, spec


class SettleCases(Cases):
    """Points 13, 14 and 16."""

    def test_a_success_stores_the_result(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec())
        lease = driver.lease()
        clock.advance(2)
        assert driver.succeed(lease) is State.SUCCEEDED
        record = driver.record(a)
        assert (record.state, record.result, record.finished_at) == (State.SUCCEEDED, b"result", clock.now())

    def test_a_success_clears_the_error_of_an_earlier_attempt(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        driver.retry(driver.lease())
        assert driver.record(a).error == b"error"
        driver.succeed(driver.lease())
        assert driver.record(a).error is None

    def test_a_failure_stores_the_error(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec())
        driver.fail(driver.lease())
        record = driver.record(a)
        assert (record.state, record.error, record.finished_at) == (State.FAILED, b"error", clock.now())

    def test_a_retry_counts_its_attempt(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        driver.retry(driver.lease())
        assert driver.record(a).attempt == 1
        assert driver.lease().attempt == 2

    def test_a_retry_is_due_when_its_back_off_ends(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec())
        driver.retry(driver.lease(), after=5)
        record = driver.record(a)
        assert (record.state, record.due_at) == (State.WAITING, clock.now() + 5 * SECOND)
        clock.advance(5)
        driver.put(spec())
        assert driver.record(a).due_at is None

    def test_a_release_gives_the_attempt_back(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        assert driver.release(driver.lease()) is State.WAITING
        assert (driver.record(a).attempt, driver.record(a).seq) == (0, 1)
        assert driver.lease().attempt == 1
        assert driver.record(b).attempt == 0

    def test_a_released_job_goes_before_its_successors(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        driver.release(driver.lease())
        assert driver.drain() == [a, b]

    def test_a_released_job_without_a_key_goes_before_younger_ones(self, driver: Driver) -> None:
        a, b, c = driver.put(spec(), spec(), spec())
        driver.release(driver.lease())
        assert driver.drain() == [a, b, c]

    def test_a_release_may_delay_the_next_claim(self, driver: Driver, clock: ManualClock) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        driver.release(driver.lease(), after=30)
        assert driver.claim() == []
        clock.advance(30)
        assert driver.drain() == [a, b]

    def test_a_release_stores_no_error(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        driver.release(driver.lease())
        assert driver.record(a).error is None

    def test_a_claim_clears_the_progress_of_the_attempt_before(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        lease = driver.lease()
        driver.extend(lease, progress=b"half")
        driver.retry(lease)
        assert driver.record(a).progress == b"half"
        driver.lease()
        assert driver.record(a).progress is None

    def test_settlements_of_one_call_are_applied_in_order(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        lease = driver.lease()
        settlements = [
            Settlement(a, "wrong", Succeed(b"", KEPT)),
            Settlement(a, lease.token, Retry(0, b"e", KEPT)),
            Settlement(a, lease.token, Succeed(b"", KEPT)),
        ]
        assert driver.run(driver.queue.settle(driver.call(), settlements)) == (None, State.WAITING, None)

    def test_a_settle_fires_no_timers(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec(id="a"), spec(id="b", delay=1))
        lease = driver.lease(lease=SECOND)
        clock.advance(5)
        driver.succeed(lease)
        assert driver.states("a", "b") == [State.SUCCEEDED, State.SCHEDULED]

    def test_a_requeued_job_is_as_if_never_tried(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec("k", retain=KEPT))
        fresh = driver.record(a)
        driver.lease(lease=SECOND)
        clock.advance(1)
        lease = driver.lease()
        driver.extend(lease, progress=b"half")
        driver.fail(lease, halt=True)
        driver.requeue(a)
        assert driver.record(a) == fresh
        lease = driver.lease()
        assert (lease.attempt, lease.crashes) == (1, 0)

    def test_only_a_failed_job_is_requeued(self, driver: Driver) -> None:
        a, b, c, d = driver.put(spec(), spec(), spec(), spec(delay=5))
        first, _ = driver.leases(2)
        driver.succeed(first)
        assert driver.requeue(a, b, c, d, "missing") == [
            (State.SUCCEEDED, False, None),
            (State.RUNNING, False, None),
            (State.WAITING, False, None),
            (State.SCHEDULED, False, None),
            (None, False, None),
        ]

    def test_only_a_halted_job_is_skipped(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        driver.fail(driver.lease())
        assert driver.skip(a, b, "missing") == [
            (State.FAILED, False, None),
            (State.WAITING, False, None),
            (None, False, None),
        ]
        assert driver.claim() == [b]
