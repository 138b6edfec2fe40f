"""Contract, points 9 and 10: rates are token buckets, and a job that cannot start spends no token."""

from fifoq.clock import SECOND
from fifoq.limits import Rate
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, spec


class RateCases(Cases):
    """Points 9 and 10."""

    def test_a_rate_lets_its_burst_through_and_then_one_per_interval(self, driver: Driver, clock: ManualClock) -> None:
        driver.declare(rate=Rate(1, per=10, burst=3))
        driver.put(*(spec() for _ in range(10)))
        assert len(driver.claim(10)) == 3
        clock.advance(9.999_999)
        assert driver.claim(10) == []
        clock.advance(0.000_001)
        assert len(driver.claim(10)) == 1
        clock.advance(20)
        assert len(driver.claim(10)) == 2

    def test_an_idle_bucket_saves_no_more_than_its_burst(self, driver: Driver, clock: ManualClock) -> None:
        driver.declare("task", rate=Rate(1, per=1, burst=2))
        driver.put(*(spec() for _ in range(10)))
        driver.claim(1)
        clock.advance(1_000)
        assert len(driver.claim(10)) == 2

    def test_a_task_has_its_own_rate(self, driver: Driver) -> None:
        driver.declare("one", rate="1/s")
        driver.put(*(spec(id=f"{task}{number}", task=task) for number in range(2) for task in ("one", "two")))
        assert driver.claim(10, tasks=["one", "two"]) == ["one0", "two0", "two1"]

    def test_a_job_takes_a_token_of_every_rate_or_none(self, driver: Driver, clock: ManualClock) -> None:
        """Claims that the task's empty bucket refuses leave the queue's bucket full."""
        driver.declare(rate=Rate(1, per=100, burst=2))
        driver.declare("one", rate=Rate(1, per=1, burst=1))
        driver.put(*(spec(task="one") for _ in range(3)), spec(id="two", task="two"))
        assert len(driver.claim(10, tasks=["one"])) == 1
        for _ in range(5):
            assert driver.claim(10, tasks=["one"]) == []
        assert driver.claim(10, tasks=["one", "two"]) == ["two"]
        clock.advance(1)
        assert driver.claim(10, tasks=["one", "two"]) == [], "the queue's bucket is empty now"

    def test_a_full_limit_spends_no_token(self, driver: Driver) -> None:
        driver.declare(rate=Rate(1, per=100, burst=2))
        driver.declare("one", limit=1)
        driver.put(spec(task="one"), spec(task="one"), spec(id="two", task="two"))
        driver.claim(tasks=["one"])
        for _ in range(5):
            assert driver.claim(10, tasks=["one"]) == []
        assert driver.claim(10, tasks=["two"]) == ["two"]

    def test_an_empty_queue_spends_no_token(self, driver: Driver) -> None:
        driver.declare(rate=Rate(1, per=100, burst=1))
        for _ in range(5):
            assert driver.claim(10) == []
        driver.put(spec(id="a"))
        assert driver.claim(10) == ["a"]

    def test_a_release_gives_no_token_back(self, driver: Driver, clock: ManualClock) -> None:
        driver.declare(rate=Rate(1, per=10, burst=1))
        (a,) = driver.put(spec())
        driver.release(driver.lease())
        assert driver.claim() == []
        clock.advance(10)
        assert driver.claim() == [a]

    def test_a_retry_costs_another_token(self, driver: Driver, clock: ManualClock) -> None:
        driver.declare("task", rate=Rate(1, per=10, burst=1))
        (a,) = driver.put(spec())
        driver.retry(driver.lease())
        assert driver.claim() == []
        clock.advance(10)
        assert driver.claim() == [a]

    def test_in_no_window_start_more_than_burst_plus_rate_times_window(
        self, driver: Driver, clock: ManualClock
    ) -> None:
        rate = Rate(3, per=1, burst=4)
        driver.declare(rate=rate)
        driver.put(*(spec() for _ in range(80)))
        starts: list[int] = []
        for step in range(60):
            starts += [clock.now()] * len(driver.work(3))
            clock.advance((0.05, 0.3, 0.4, 1.1)[step % 4])
        for first, begin in enumerate(starts):
            for last, end in enumerate(starts[first:], first):
                assert last - first + 1 <= rate.burst + (end - begin) / rate.interval
        assert len(starts) > 60

    def test_the_next_token_is_a_timer(self, driver: Driver, clock: ManualClock) -> None:
        driver.declare("task", rate="1/10s")
        driver.put(spec(id="a"), spec(id="b"))
        reply = driver.claim_reply(10)
        assert reply.next_timer is not None
        assert 0 < reply.next_timer <= 10 * SECOND
        clock.set(clock.now() + reply.next_timer)
        assert driver.claim(10) == ["b"]

    def test_a_rate_survives_a_reopening(self, driver: Driver) -> None:
        driver.declare(rate="1/m")
        driver.put(spec(), spec())
        driver.twin()
        driver.claim()
        driver.reopen()
        assert driver.claim() == []

    def test_writing_the_same_rate_again_gives_no_token(self, driver: Driver) -> None:
        driver.declare(rate="1/m")
        driver.put(spec(), spec())
        driver.claim()
        driver.declare(rate="1/m")
        assert driver.claim() == []
