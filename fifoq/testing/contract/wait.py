"""Contract, point 20: waiters are woken. In real seconds, under any clock; a wake-up is a hint, an end is a fact."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fifoq.errors import JobNotFound
from fifoq.queue import Call, Changed, Full, Receipt
from fifoq.record import Damaged, Filter, Record, State
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import KEPT, Driver, readable, spec

PATIENCE = 20.0
"""Seconds after which a wake-up counts as missed. No case takes long without a miss."""


def during(driver: Driver, waiting: Any, change: Callable[[Driver], Any]) -> Any:
    """Await `waiting` while another backend, on another thread and loop, makes a change; return its result."""
    other = driver.twin()
    begun = threading.Event()

    def work() -> None:
        begun.wait(PATIENCE)
        change(other)

    async def wait() -> Any:
        task = asyncio.ensure_future(waiting)
        for _ in range(5):
            await asyncio.sleep(0)
        begun.set()
        return await asyncio.wait_for(task, 3 * PATIENCE)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        return driver.run(wait())
    finally:
        begun.set()
        thread.join()


class WaitCases(Cases):
    """Point 20."""

    def test_a_wait_ends_at_its_timeout(self, driver: Driver) -> None:
        assert driver.run(asyncio.wait_for(driver.queue.wait(0.01), PATIENCE)) in (True, False)
        assert driver.run(asyncio.wait_for(driver.queue.wait(0), PATIENCE)) in (True, False)

    def test_a_put_wakes_a_waiter(self, driver: Driver) -> None:
        assert during(driver, driver.queue.wait(PATIENCE), lambda other: other.put(spec())) is True
        assert len(driver.claim()) == 1

    def test_a_timer_earlier_than_all_others_wakes_a_waiter(self, driver: Driver) -> None:
        driver.put(spec(delay=60))
        sooner = spec(delay=1)
        assert during(driver, driver.queue.wait(PATIENCE), lambda other: other.put(sooner)) is True
        assert driver.claim_reply().next_timer is not None

    def test_each_put_wakes_a_waiter_again(self, driver: Driver) -> None:
        for _ in range(5):
            assert during(driver, driver.queue.wait(PATIENCE), lambda other: other.put(spec())) is True
            assert len(driver.claim()) == 1

    @pytest.mark.parametrize("end", ["succeed", "fail", "retry", "release", "end_cancelled"])
    def test_the_end_of_a_lease_wakes_a_waiter(self, driver: Driver, end: str) -> None:
        driver.put(spec("k"), spec("k"))
        lease = driver.lease()
        assert during(driver, driver.queue.wait(PATIENCE), lambda other: getattr(other, end)(lease)) is True
        assert len(driver.claim()) == 1

    def test_a_slot_that_frees_wakes_a_waiter(self, driver: Driver) -> None:
        driver.declare(limit=1)
        driver.put(spec(), spec())
        lease = driver.lease()
        assert during(driver, driver.queue.wait(PATIENCE), lambda other: other.succeed(lease)) is True
        assert len(driver.claim()) == 1

    @pytest.mark.parametrize("place", [{}, {"task": "task"}, {"key": "k"}], ids=["the queue", "the task", "the key"])
    def test_a_resume_wakes_a_waiter(self, driver: Driver, place: dict[str, str]) -> None:
        driver.put(spec("k"))
        driver.pause(**place)
        assert during(driver, driver.queue.wait(PATIENCE), lambda other: other.resume(**place)) is True
        assert len(driver.claim()) == 1

    def test_a_raised_limit_wakes_a_waiter(self, driver: Driver) -> None:
        driver.declare(limit=1)
        driver.put(spec(), spec())
        driver.lease()
        assert during(driver, driver.queue.wait(PATIENCE), lambda other: other.declare(limit=2)) is True
        assert len(driver.claim()) == 1

    def test_a_cancelled_head_a_requeue_and_a_skip_wake_a_waiter(self, driver: Driver) -> None:
        a, b, c = driver.put(spec("k"), spec("k"), spec("k"))
        driver.retry(driver.lease(), after=1_000)
        assert during(driver, driver.queue.wait(PATIENCE), lambda other: other.cancel(a)) is True
        driver.fail(driver.lease(), halt=True)
        assert during(driver, driver.queue.wait(PATIENCE), lambda other: other.requeue(b)) is True
        driver.fail(driver.lease(), halt=True)
        assert during(driver, driver.queue.wait(PATIENCE), lambda other: other.skip(b)) is True
        assert driver.claim() == [c]


def put_soon(driver: Driver) -> list[str]:
    """Put one job, once the waiter is registered at the store."""
    time.sleep(0.02)
    return driver.put(spec())


class AheadCases(Cases):
    """The promises that claims ahead, made for waiting callers, must keep. A backend need not make any."""

    def test_the_jobs_of_a_put_go_to_the_next_call_of_any_claimer(self, driver: Driver) -> None:
        for number in range(1, 12, 2):
            assert driver.claim_reply(2, call=Call("waits", number), ahead=2).leases == ()
            (a,) = during(driver, self.put_while_waiting(driver), put_soon)
            (lease,) = driver.leases(1, call=Call("waits", number + 1))
            assert (lease.spec.id, lease.token) == (a, f"waits.{number + 1}.{lease.fence}")
            assert driver.claim() == []
            assert driver.succeed(lease) is State.SUCCEEDED

    async def put_while_waiting(self, driver: Driver) -> list[str]:
        assert await driver.queue.wait(PATIENCE)
        page = await driver.queue.find(Filter(), 0, 100)
        return [readable(found).spec.id for found in page.records][-1:]

    def test_nothing_is_claimed_ahead_for_a_worker_that_has_left(self, driver: Driver) -> None:
        other = driver.twin()
        assert driver.claim_reply(2, call=Call("waits", 1), ahead=2).leases == ()
        driver.run(driver.queue.wait(0.05))
        left = driver.claim_reply(0, call=Call("waits", 2))
        assert (left.leases, left.stands) == ((), False)
        (a,) = other.put(spec())
        assert other.claim() == [a]

    def test_a_call_whose_reply_was_lost_gets_it_again_after_any_notification(self, driver: Driver) -> None:
        for number in range(1, 6):
            call = Call("waits", number)
            before = driver.leases(2, call=call, ahead=2)
            during(driver, driver.queue.wait(PATIENCE), put_soon)
            if before:  # an empty reply need not be stored
                assert driver.leases(2, call=call, ahead=2) == before
            for lease in before:
                assert driver.succeed(lease) is State.SUCCEEDED
        assert len(driver.leases(2, call=Call("waits", 6))) == 1

    def test_a_lease_counts_from_no_later_than_its_beginning(self, driver: Driver) -> None:
        assert driver.claim_reply(2, call=Call("waits", 1), ahead=2).leases == ()
        during(driver, driver.queue.wait(PATIENCE), put_soon)
        before = time.monotonic()
        reply = driver.claim_reply(2, call=Call("waits", 2))
        assert len(reply.leases) == 1
        assert reply.since is None or reply.since < before


class ExpectedCases(Cases):
    """A job announced by `expect` is a job like others."""

    @pytest.mark.parametrize("after_another", [True, False], ids=["after another", "at once"])
    def test_the_end_of_a_job_that_was_expected_is_returned(self, driver: Driver, after_another: bool) -> None:
        if after_another:
            (first,) = driver.put(spec())
            driver.run(driver.queue.finished(first, 0.05))
            driver.work()
        for _ in range(3):
            expected = spec()
            driver.queue.expect(expected.id)
            (a,) = driver.put(expected)
            record = during(driver, driver.queue.finished(a, PATIENCE), lambda other: other.work())
            assert record == driver.record(a)
            assert record.state is State.SUCCEEDED

    def test_an_expected_job_that_was_there_before_or_refused_or_never_comes_is_as_any_other(
        self, driver: Driver
    ) -> None:
        there = spec()
        driver.put(there)
        driver.work()
        for _ in range(2):
            driver.queue.expect(there.id)
            assert driver.receipts(there) == (Receipt(there.id, created=False),)
            record = driver.run(driver.queue.finished(there.id, PATIENCE))
            assert record is not None
            assert readable(record).state is State.SUCCEEDED
        driver.declare(capacity=1)
        refused = spec()
        driver.queue.expect(refused.id)
        assert isinstance(driver.put_reply(refused, spec()), Full)
        with pytest.raises(JobNotFound):
            driver.run(driver.queue.finished(refused.id, PATIENCE))

    def test_an_expected_job_may_end_before_it_is_waited_for(self, driver: Driver) -> None:
        (first,) = driver.put(spec())
        driver.run(driver.queue.finished(first, 0.05))
        driver.work()
        expected = spec()
        driver.queue.expect(expected.id)
        (a,) = driver.put(expected)
        driver.twin().work()
        driver.run(asyncio.sleep(0.05))
        assert driver.run(driver.queue.finished(a, 0)) == driver.record(a)


class FinishedCases(Cases):
    """Point 20: the end of a job wakes its waiters."""

    def finished(self, driver: Driver, id: str, timeout: float = PATIENCE) -> Record | None:
        found = driver.run(asyncio.wait_for(driver.queue.finished(id, timeout), 3 * PATIENCE))
        return None if found is None else readable(found)

    def test_an_ended_job_is_returned_at_once(self, driver: Driver) -> None:
        a, b, c = driver.put(spec(), spec("k"), spec(retain=KEPT))
        driver.succeed(driver.lease())
        driver.fail(driver.lease(), halt=True)
        driver.cancel(c)
        for id in (a, b, c):
            assert self.finished(driver, id) == driver.record(id)

    def test_a_job_that_does_not_end_in_time_is_none(self, driver: Driver) -> None:
        ids = driver.put(spec(), spec(), spec(delay=5))
        driver.lease()
        for id in ids:
            assert self.finished(driver, id, 0.01) is None
            assert self.finished(driver, id, 0) is None

    @pytest.mark.parametrize("end", ["succeed", "fail", "end_cancelled"])
    def test_a_waiter_gets_the_record_as_the_job_ends(self, driver: Driver, end: str) -> None:
        (a,) = driver.put(spec())
        lease = driver.lease()
        record = during(driver, driver.queue.finished(a, PATIENCE), lambda other: getattr(other, end)(lease))
        assert record == driver.record(a)
        assert record.state.ended

    def test_a_waiter_for_a_waiting_job_gets_its_cancellation(self, driver: Driver) -> None:
        (a,) = driver.put(spec(retain=KEPT))
        record = during(driver, driver.queue.finished(a, PATIENCE), lambda other: other.cancel(a))
        assert record.state is State.CANCELLED

    def test_a_retry_is_no_end(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        lease = driver.lease()

        def work(other: Driver) -> None:
            other.retry(lease)
            other.succeed(other.lease())

        assert during(driver, driver.queue.finished(a, PATIENCE), work).state is State.SUCCEEDED

    def test_a_job_that_does_not_exist_is_not_waited_for(self, driver: Driver) -> None:
        driver.put(spec())
        with pytest.raises(JobNotFound):
            self.finished(driver, "missing")

    def test_a_job_removed_as_it_ends_is_seen_or_reported_gone(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        lease = driver.lease()
        try:
            record = during(driver, driver.queue.finished(a, PATIENCE), lambda other: other.succeed(lease, retain=0))
        except JobNotFound:
            return
        assert record is not None
        assert record.result == b"result"

    def test_many_wait_for_many(self, driver: Driver) -> None:
        ids = driver.put(*(spec() for _ in range(20)))
        leases = driver.leases(20)

        async def all_of_them() -> list[Record | Damaged | None]:
            return await asyncio.gather(*(driver.queue.finished(id, PATIENCE) for id in ids for _ in range(2)))

        def work(other: Driver) -> None:
            for lease in reversed(leases):
                assert other.succeed(lease) is State.SUCCEEDED

        records = during(driver, all_of_them(), work)
        assert [record and record.spec.id for record in records] == [id for id in ids for _ in range(2)]

    def test_a_requeued_job_is_waited_for_again(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        driver.fail(driver.lease())
        assert driver.requeue(a) == [Changed(State.WAITING, True)]
        assert self.finished(driver, a, 0.01) is None
