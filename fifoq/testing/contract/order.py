"""Contract, points 2, 4 and 5: strict order per key, through retries, failures and crashes."""

import random

from fifoq.record import State
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, spec


class OrderCases(Cases):
    """Points 2, 4 and 5."""

    def test_jobs_of_a_key_run_in_order(self, driver: Driver) -> None:
        ids = driver.put(*(spec("k") for _ in range(20)))
        assert driver.drain() == ids

    def test_at_most_one_job_of_a_key_is_leased(self, driver: Driver) -> None:
        first, second = driver.put(spec("k"), spec("k"))
        lease = driver.lease()
        assert lease.spec.id == first
        assert driver.claim(10) == []
        driver.succeed(lease)
        assert driver.claim(10) == [second]

    def test_one_claim_never_takes_two_jobs_of_a_key(self, driver: Driver) -> None:
        a1, _, b1, _ = driver.put(spec("a"), spec("a"), spec("b"), spec("b"))
        assert driver.claim(10) == [a1, b1]

    def test_different_keys_run_side_by_side(self, driver: Driver) -> None:
        ids = driver.put(*(spec(f"k{number}") for number in range(20)))
        assert driver.claim(20) == ids

    def test_jobs_without_a_key_run_side_by_side_oldest_first(self, driver: Driver) -> None:
        ids = driver.put(*(spec() for _ in range(20)))
        assert driver.claim(20) == ids

    def test_a_blocked_key_hides_no_other(self, driver: Driver) -> None:
        driver.put(*(spec("busy") for _ in range(50)))
        driver.put(spec("other", id="other"), spec(id="free"))
        driver.lease()
        assert driver.claim(2) == ["other", "free"]

    def test_a_key_spans_tasks(self, driver: Driver) -> None:
        driver.put(spec("k", id="a", task="one"), spec("k", id="b", task="two"))
        assert driver.claim(tasks=["two"]) == []
        lease = driver.lease(tasks=["one"])
        assert driver.claim(tasks=["two"]) == []
        driver.succeed(lease)
        assert driver.claim(tasks=["two"]) == ["b"]

    def test_a_job_of_an_unknown_task_waits_and_costs_other_keys_nothing(self, driver: Driver) -> None:
        driver.put(spec("k", id="a", task="unknown"), spec("k", id="b"), spec("other", id="c"))
        assert driver.claim(10) == ["c"]
        assert driver.states("a") == [State.WAITING]

    def test_a_retry_holds_the_line(self, driver: Driver) -> None:
        a, b, c = driver.put(spec("k"), spec("k"), spec("k"))
        assert driver.retry(driver.lease()) is State.WAITING
        assert driver.drain() == [a, b, c]

    def test_the_successors_of_a_job_that_backs_off_wait(self, driver: Driver, clock: ManualClock) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        seq = driver.record(a).seq
        driver.retry(driver.lease(), after=10)
        assert driver.claim(10) == []
        clock.advance(9.999_999)
        assert driver.claim(10) == []
        clock.advance(0.000_001)
        assert driver.drain() == [a, b]
        assert driver.record(a).seq == seq

    def test_a_failure_frees_the_key(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        assert driver.fail(driver.lease()) is State.FAILED
        assert driver.claim() == [b]
        assert driver.states(a) == [State.FAILED]

    def test_a_failure_that_halts_keeps_the_key_closed(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec("k", id="a"), spec("k", id="b"), spec("other", id="c"))
        assert driver.fail(driver.lease(), halt=True) is State.FAILED
        assert driver.record("a").halted
        clock.advance(10**6)
        assert driver.claim(10) == ["c"]

    def test_a_job_put_behind_a_halted_one_waits(self, driver: Driver) -> None:
        driver.put(spec("k"))
        driver.fail(driver.lease(), halt=True)
        driver.put(spec("k"))
        assert driver.claim() == []

    def test_a_halted_job_requeued_resumes_at_its_place(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        driver.fail(driver.lease(), halt=True)
        c = driver.put(spec("k"))[0]
        seq = driver.record(a).seq
        assert driver.requeue(a) == [(State.WAITING, True, None)]
        assert driver.record(a).seq == seq
        assert driver.drain() == [a, b, c]

    def test_a_halted_job_skipped_lets_the_key_go_on(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        driver.fail(driver.lease(), halt=True)
        assert driver.skip(a) == [(State.FAILED, True, None)]
        assert not driver.record(a).halted
        assert driver.drain() == [b]

    def test_a_failed_job_requeued_enters_at_the_end_of_the_line(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        driver.fail(driver.lease())
        assert driver.requeue(a) == [(State.WAITING, True, None)]
        assert (driver.record(a).entry, driver.record(a).seq) == (1, 3)
        c = driver.put(spec("k"))[0]
        assert driver.drain() == [b, a, c]

    def test_requeued_jobs_enter_in_list_order(self, driver: Driver) -> None:
        a, b, c = driver.put(spec(), spec(), spec())
        for lease in driver.leases(3):
            driver.fail(lease)
        driver.requeue(c, a, b)
        assert driver.drain() == [c, a, b]

    def test_halt_without_a_key_is_a_plain_failure(self, driver: Driver) -> None:
        (a,) = driver.put(spec())
        driver.fail(driver.lease(), halt=True)
        assert not driver.record(a).halted
        assert driver.blocked() == []

    def test_many_jobs_over_few_keys_keep_every_order(self, driver: Driver) -> None:
        """Claimed in handfuls and settled in any order, with retries: each key ends in the order of entry."""
        dice = random.Random(1)
        ids = [driver.put(spec(f"k{number % 7}"))[0] for number in range(210)]
        keys = {id: number % 7 for number, id in enumerate(ids)}
        done: list[str] = []
        held = list(driver.leases(5))
        while held:
            lease = held.pop(dice.randrange(len(held)))
            if dice.random() < 0.3:
                driver.retry(lease)
            else:
                driver.succeed(lease)
                done.append(lease.spec.id)
            held += driver.leases(5 - len(held))
        for key in range(7):
            assert [id for id in done if keys[id] == key] == [id for id in ids if keys[id] == key]
