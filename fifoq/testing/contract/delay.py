"""Contract, point 6: a delay is before the line, or in it with `in_line`; a job that expires is cancelled."""

import pytest

from fifoq.clock import SECOND
from fifoq.queue import MAX_TIMERS
from fifoq.record import Filter, State
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, spec


class DelayCases(Cases):
    """Point 6."""

    def test_a_delayed_job_is_scheduled_outside_the_line(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec("k", id="late", delay=10), spec("k", id="now"))
        record = driver.record("late")
        assert (record.state, record.seq, record.due_at) == (State.SCHEDULED, None, clock.now() + 10 * SECOND)
        assert driver.drain() == ["now"]

    def test_a_delayed_job_enters_the_line_when_it_falls_due(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec("k", id="late", delay=10))
        driver.put(spec("k", id="a"), spec("k", id="b"))
        clock.advance(9.999_999)
        assert driver.work() == ["a"]
        clock.advance(0.000_001)
        driver.put(spec("k", id="c"))
        assert driver.record("late").seq == 4
        assert driver.record("late").due_at is None
        assert driver.drain() == ["b", "late", "c"]

    def test_delayed_jobs_enter_by_due_time_and_then_by_entry(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(*(spec(id=id, delay=delay) for id, delay in [("c", 3), ("a", 1), ("d", 3), ("b", 2)]))
        clock.advance(5)
        assert driver.drain() == ["a", "b", "c", "d"]

    def test_a_read_moves_no_job_into_the_line(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec(id="late", delay=1))
        clock.advance(2)
        driver.stats()
        driver.find()
        driver.audit()
        assert driver.states("late") == [State.SCHEDULED]
        driver.put(spec(id="later"))
        assert driver.states("late") == [State.WAITING]
        assert driver.drain() == ["late", "later"]

    def test_in_line_a_delayed_job_holds_its_place(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec("k", id="first", delay=10, in_line=True), spec("k", id="second"), spec("other", id="third"))
        record = driver.record("first")
        assert (record.state, record.seq, record.due_at) == (State.WAITING, 1, clock.now() + 10 * SECOND)
        assert driver.drain() == ["third"]
        clock.advance(10)
        assert driver.drain() == ["first", "second"]

    def test_a_delayed_job_behind_others_in_line_waits_for_both(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec("k", id="first"), spec("k", id="second", delay=10, in_line=True), spec("k", id="third"))
        clock.advance(5)
        assert driver.drain() == ["first"]
        clock.advance(5)
        assert driver.drain() == ["second", "third"]

    def test_a_job_not_claimed_in_time_is_cancelled(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec("k", id="a", expires=10, retain=100 * SECOND), spec("k", id="b"))
        clock.advance(9.999_999)
        assert driver.claim(tasks=["another"]) == []
        assert driver.states("a") == [State.WAITING]
        clock.advance(0.000_001)
        assert driver.claim(10) == ["b"]
        record = driver.record("a")
        assert (record.state, record.reason, record.finished_at) == (State.CANCELLED, "expired", clock.now())

    @pytest.mark.parametrize("in_line", [False, True])
    def test_a_delayed_job_expires_before_it_falls_due(self, driver: Driver, clock: ManualClock, in_line: bool) -> None:
        driver.put(spec("k", id="a", delay=10, expires=5, in_line=in_line, retain=SECOND), spec("k", id="b"))
        clock.advance(5)
        assert driver.drain() == ["b"]
        assert driver.record("a").reason == "expired"

    @pytest.mark.parametrize("in_line", [False, True])
    def test_a_job_due_and_expired_at_once_is_expired(self, driver: Driver, clock: ManualClock, in_line: bool) -> None:
        driver.put(spec(id="a", delay=5, expires=10, in_line=in_line, retain=SECOND))
        clock.advance(20)
        assert driver.claim() == []
        assert driver.record("a").reason == "expired"

    def test_a_claimed_job_no_longer_expires(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec(expires=10))
        driver.release(driver.lease())
        clock.advance(20)
        lease = driver.lease()
        assert lease.spec.id == a
        driver.retry(lease, after=5)
        clock.advance(20)
        assert driver.claim() == [a]

    def test_a_requeued_job_no_longer_expires(self, driver: Driver, clock: ManualClock) -> None:
        (a,) = driver.put(spec(expires=10))
        driver.fail(driver.lease())
        driver.requeue(a)
        clock.advance(20)
        assert driver.claim() == [a]

    def test_one_call_fires_so_many_timers_and_the_next_goes_on(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(*(spec(id=f"{number:04}", delay=1) for number in range(MAX_TIMERS + 10)))
        clock.advance(5)
        reply = driver.claim_reply(1)
        assert reply.next_timer == 0
        assert driver.stats().scheduled == 10
        driver.claim_reply(1)
        assert driver.stats().scheduled == 0

    def test_of_too_many_timers_the_earliest_fire_first(self, driver: Driver, clock: ManualClock) -> None:
        half = MAX_TIMERS * 6 // 10
        driver.put(*(spec(id=f"late {number:03}", delay=2) for number in range(half)))
        driver.put(*(spec(id=f"early {number:03}", delay=1) for number in range(half)))
        clock.advance(5)
        driver.claim(tasks=["another"])
        left = [record.spec.id for record in driver.find(Filter(state=State.SCHEDULED), MAX_TIMERS)]
        assert left == [f"late {number:03}" for number in range(MAX_TIMERS - half, half)]

    def test_the_next_timer_is_returned_and_never_too_late(self, driver: Driver, clock: ManualClock) -> None:
        assert driver.claim_reply().next_timer is None
        driver.put(spec(id="a", delay=10))
        timer = driver.claim_reply().next_timer
        assert timer is not None
        assert 0 < timer <= 10 * SECOND
        clock.advance(4)
        timer = driver.claim_reply().next_timer
        assert timer is not None
        assert 0 < timer <= 6 * SECOND
        clock.set(clock.now() + timer)
        assert driver.claim() == ["a"]

    def test_the_end_of_a_lease_is_a_timer(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec(id="a"))
        driver.lease(lease=7 * SECOND)
        timer = driver.claim_reply().next_timer
        assert timer is not None
        assert 0 < timer <= 7 * SECOND
        clock.advance(7)
        assert driver.claim() == ["a"]

    def test_the_end_of_a_back_off_is_a_timer(self, driver: Driver) -> None:
        driver.put(spec(id="a"))
        driver.retry(driver.lease(), after=3)
        timer = driver.claim_reply().next_timer
        assert timer is not None
        assert 0 < timer <= 3 * SECOND
