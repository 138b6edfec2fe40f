"""Contract, point 11: scheduled + waiting + running stays within the capacity, checked in put."""

from fifoq.clock import SECOND
from fifoq.queue import Full, Receipt
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, spec


class CapacityCases(Cases):
    """Point 11."""

    def test_a_full_queue_refuses(self, driver: Driver) -> None:
        driver.declare(capacity=2)
        driver.put(spec(), spec())
        assert driver.put_reply(spec(id="x")) == Full(None, 2, 2, 1)
        assert driver.get("x") is None

    def test_a_full_task_refuses_and_others_do_not(self, driver: Driver) -> None:
        driver.declare("one", capacity=1)
        driver.put(spec(task="one"))
        assert driver.put_reply(spec(task="one")) == Full("one", 1, 1, 1)
        driver.put(spec(task="two"))

    def test_a_batch_fits_as_a_whole_or_not_at_all(self, driver: Driver) -> None:
        driver.declare(capacity=3)
        driver.put(spec())
        assert driver.put_reply(spec(), spec(), spec()) == Full(None, 3, 1, 3)
        assert driver.stats().waiting == 1
        driver.put(spec(), spec())

    def test_a_batch_larger_than_the_capacity_never_fits(self, driver: Driver) -> None:
        driver.declare(capacity=2)
        assert driver.put_reply(spec(), spec(), spec()) == Full(None, 2, 0, 3)

    def test_a_mixed_batch_is_refused_for_its_one_full_task(self, driver: Driver) -> None:
        driver.declare("b", capacity=1)
        driver.declare("c", capacity=1)
        batch = [spec(task="a"), spec(task="c"), spec(task="c"), spec(task="b"), spec(task="b")]
        assert driver.put_reply(*batch) == Full("b", 1, 0, 2)
        assert driver.stats().accepted == 0

    def test_the_queues_capacity_is_tried_first(self, driver: Driver) -> None:
        driver.declare(capacity=1)
        driver.declare("a", capacity=1)
        assert driver.put_reply(spec(task="a"), spec(task="a")) == Full(None, 1, 0, 2)

    def test_scheduled_waiting_and_running_jobs_count(self, driver: Driver) -> None:
        driver.declare(capacity=3)
        driver.put(spec(), spec(), spec(delay=10))
        driver.claim()
        assert driver.put_reply(spec()) == Full(None, 3, 3, 1)

    def test_ended_and_halted_jobs_do_not_count(self, driver: Driver) -> None:
        driver.declare(capacity=1)
        driver.put(spec("k"))
        driver.fail(driver.lease(), halt=True)
        driver.put(spec(id="a"))
        driver.succeed(driver.lease())
        driver.put(spec())

    def test_repeats_count_nothing(self, driver: Driver) -> None:
        driver.declare(capacity=2)
        driver.put(spec(id="a"), spec(id="b", unique="u"))
        again = driver.receipts(spec(id="a"), spec(id="c", unique="u"))
        assert again == (Receipt("a", False), Receipt("b", False))

    def test_a_batch_counts_only_the_jobs_it_adds(self, driver: Driver) -> None:
        driver.declare(capacity=2)
        driver.put(spec(id="a"))
        assert driver.receipts(spec(id="a"), spec(id="b"), spec(id="b"))[1] == Receipt("b", True)

    def test_a_repeat_is_welcome_where_a_lowered_capacity_is_exceeded(self, driver: Driver) -> None:
        driver.put(spec(id="a"), spec(id="b"))
        driver.declare(capacity=1)
        assert driver.receipts(spec(id="a")) == (Receipt("a", False),)
        assert driver.put_reply(spec()) == Full(None, 1, 2, 1)

    def test_a_lowered_capacity_removes_nothing(self, driver: Driver) -> None:
        ids = driver.put(*(spec() for _ in range(4)))
        driver.declare(capacity=1)
        assert driver.drain() == ids

    def test_retry_release_expiry_and_requeue_need_no_capacity(self, driver: Driver, clock: ManualClock) -> None:
        driver.declare(capacity=1)
        (a,) = driver.put(spec("k"))
        driver.retry(driver.lease())
        driver.release(driver.lease())
        driver.lease(lease=SECOND)
        clock.advance(1)
        driver.fail(driver.lease())
        driver.put(spec("k"))
        driver.requeue(a)
        assert driver.stats().waiting == 2
        assert driver.put_reply(spec()) == Full(None, 1, 2, 1)

    def test_a_job_that_expires_makes_room_in_the_same_put(self, driver: Driver, clock: ManualClock) -> None:
        driver.declare(capacity=1)
        driver.put(spec(expires=5))
        clock.advance(5)
        driver.put(spec())

    def test_cancelling_makes_room(self, driver: Driver) -> None:
        driver.declare("task", capacity=1)
        (a,) = driver.put(spec())
        driver.cancel(a)
        driver.put(spec())
