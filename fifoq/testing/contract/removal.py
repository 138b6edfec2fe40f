"""Contract, point 7: removal frees the key in the same step; a running job is only asked to end."""

from fifoq.clock import SECOND
from fifoq.record import Hold, State
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import KEPT, Driver, spec


class RemovalCases(Cases):
    """Point 7."""

    def test_cancelling_a_waiting_head_lets_its_successor_go_at_once(self, driver: Driver) -> None:
        a, b = driver.put(spec("k", retain=KEPT), spec("k"))
        assert driver.cancel(a, reason="wrong") == [(State.CANCELLED, True, None)]
        assert (driver.record(a).state, driver.record(a).reason) == (State.CANCELLED, "wrong")
        assert driver.claim() == [b]

    def test_cancelling_in_the_middle_of_a_line_closes_the_gap(self, driver: Driver) -> None:
        a, b, c = driver.put(spec("k"), spec("k"), spec("k"))
        driver.cancel(b)
        assert driver.drain() == [a, c]

    def test_cancelling_a_head_that_backs_off_frees_the_key(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        driver.retry(driver.lease(), after=100)
        driver.cancel(a)
        assert driver.claim() == [b]

    def test_cancelling_a_delayed_head_in_line_frees_the_key(self, driver: Driver) -> None:
        a, b = driver.put(spec("k", delay=100, in_line=True), spec("k"))
        driver.cancel(a)
        assert driver.claim() == [b]

    def test_cancelling_a_scheduled_job_keeps_it_out_of_the_line(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec(delay=1, retain=KEPT))
        assert driver.cancel(a) == [(State.CANCELLED, True, None)]
        clock.advance(2)
        assert driver.claim() == []
        assert (driver.record(a).state, driver.record(a).seq) == (State.CANCELLED, None)

    def test_cancelling_a_running_job_only_asks(self, driver: Driver) -> None:
        a, _ = driver.put(spec("k"), spec("k"))
        lease = driver.lease()
        assert driver.cancel(a, reason="first") == [(State.RUNNING, True, None)]
        assert driver.cancel(a, reason="second") == [(State.RUNNING, False, None)]
        record = driver.record(a)
        assert (record.state, record.cancel_requested, record.reason) == (State.RUNNING, True, "first")
        assert driver.claim() == [], "the key opens when the holder settles, not before"
        assert driver.extend(lease) is Hold.CANCEL

    def test_a_job_asked_to_cancel_ends_with_the_reason_asked(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        lease = driver.lease()
        driver.cancel(a, reason="asked first")
        assert driver.end_cancelled(lease, reason="the worker's") is State.CANCELLED
        record = driver.record(a)
        assert (record.reason, record.cancel_requested) == ("asked first", False)
        assert driver.claim() == [b]

    def test_a_job_cancelled_by_its_worker_has_the_workers_reason(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        assert driver.end_cancelled(driver.lease(), reason="timeout") is State.CANCELLED
        assert driver.record(a).reason == "timeout"

    def test_a_retry_of_a_job_asked_to_cancel_ends_it_cancelled(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        lease = driver.lease()
        driver.cancel(a, reason="stop")
        assert driver.retry(lease, after=10) is State.CANCELLED
        assert driver.record(a).reason == "stop"
        assert driver.claim() == [b]

    def test_a_release_of_a_job_asked_to_cancel_ends_it_cancelled(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        lease = driver.lease()
        driver.cancel(a, reason="stop")
        assert driver.release(lease, after=10) is State.CANCELLED
        assert driver.record(a).reason == "stop"
        assert driver.claim() == [b]

    def test_the_end_of_the_lease_of_a_job_asked_to_cancel_ends_it(self, driver: Driver, clock: ManualClock) -> None:
        a, b = driver.put(spec("k", retain=KEPT), spec("k"))
        lease = driver.lease(lease=5 * SECOND)
        driver.cancel(a, reason="stop")
        clock.advance(5)
        assert driver.claim() == [b]
        assert (driver.record(a).state, driver.record(a).reason) == (State.CANCELLED, "stop")
        assert driver.succeed(lease) is None

    def test_a_success_stands_though_it_was_asked_to_cancel(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        lease = driver.lease()
        driver.cancel(a)
        assert driver.succeed(lease) is State.SUCCEEDED
        record = driver.record(a)
        assert (record.result, record.cancel_requested) == (b"result", False)

    def test_a_failure_stands_though_it_was_asked_to_cancel(self, driver: Driver) -> None:
        a, _ = driver.put(spec("k"), spec("k"))
        lease = driver.lease()
        driver.cancel(a)
        assert driver.fail(lease, halt=True) is State.FAILED
        assert driver.record(a).halted
        assert driver.claim() == []

    def test_an_ended_job_is_not_cancelled(self, driver: Driver) -> None:
        a, b = driver.put(spec(), spec("k"))
        driver.succeed(driver.lease())
        driver.fail(driver.lease(), halt=True)
        assert driver.cancel(a, b, "missing") == [
            (State.SUCCEEDED, False, None),
            (State.FAILED, False, None),
            (None, False, None),
        ]
        assert driver.record(b).halted

    def test_a_job_may_be_asked_past_the_end_of_its_lease(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec(retain=KEPT))
        driver.lease(lease=SECOND)
        clock.advance(2)
        assert driver.cancel(a) == [(State.RUNNING, True, None)]
        assert driver.claim() == []
        assert driver.states(a) == [State.CANCELLED]
