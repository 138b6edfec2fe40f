"""Contract, point 17: an id names one job as long as it is kept; a unique text one job at a time."""

from fifoq.queue import Conflict, Receipt
from fifoq.record import State
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import KEPT, Driver, spec


class IdentityCases(Cases):
    """Point 17."""

    def test_an_id_put_again_changes_nothing(self, driver: Driver) -> None:
        driver.put(spec("k", id="a", priority=1))
        before = driver.record("a")
        assert driver.receipts(spec("other", id="a", priority=9, delay=5)) == (Receipt("a", False),)
        assert driver.record("a") == before

    def test_an_id_is_taken_in_every_state_as_long_as_its_job_is_kept(self, driver: Driver) -> None:
        driver.put(spec(id="scheduled", delay=100))
        driver.put(spec("h", id="halted"), spec(id="done"), spec(id="failed"), spec(id="running"))
        halted, done, failed, _ = driver.leases(4)
        driver.fail(halted, halt=True)
        driver.succeed(done)
        driver.fail(failed)
        driver.put(spec(id="waiting"), spec(id="cancelled", retain=KEPT))
        driver.cancel("cancelled")
        ids = ("scheduled", "waiting", "running", "done", "failed", "halted", "cancelled")
        assert driver.receipts(*(spec(id=id) for id in ids)) == tuple(Receipt(id, False) for id in ids)

    def test_an_id_is_free_again_when_its_job_is_gone(self, driver: Driver) -> None:
        driver.put(spec(id="a"))
        driver.succeed(driver.lease(), retain=0)
        assert driver.receipts(spec(id="a", payload=b"new")) == (Receipt("a", True),)

    def test_an_id_with_another_payload_is_a_conflict(self, driver: Driver) -> None:
        driver.put(spec(id="a", payload=b"1"))
        assert driver.put_reply(spec(id="b"), spec(id="a", payload=b"2")) == Conflict("a")
        assert driver.get("b") is None

    def test_an_id_with_another_task_is_a_conflict(self, driver: Driver) -> None:
        driver.put(spec(id="a", task="one"))
        assert driver.put_reply(spec(id="a", task="two")) == Conflict("a")

    def test_an_id_twice_in_a_batch_enters_once(self, driver: Driver) -> None:
        assert driver.receipts(spec(id="a"), spec(id="a")) == (Receipt("a", True), Receipt("a", False))
        assert driver.stats().accepted == 1

    def test_an_id_twice_in_a_batch_with_different_payloads_is_a_conflict(self, driver: Driver) -> None:
        assert driver.put_reply(spec(id="a", payload=b"1"), spec(id="a", payload=b"2")) == Conflict("a")
        assert driver.stats().accepted == 0

    def test_a_conflict_comes_before_a_full_queue(self, driver: Driver) -> None:
        driver.declare(capacity=1)
        driver.put(spec(id="a", payload=b"1"))
        assert driver.put_reply(spec(), spec(id="a", payload=b"2")) == Conflict("a")

    def test_a_unique_text_held_names_its_holder(self, driver: Driver) -> None:
        driver.put(spec(id="a", unique="u"))
        assert driver.receipts(spec(id="b", unique="u", payload=b"x")) == (Receipt("a", False),)
        assert driver.get("b") is None

    def test_a_unique_text_is_held_while_scheduled_waiting_backing_off_and_running(
        self, driver: Driver, clock: ManualClock
    ) -> None:
        def held() -> bool:
            return driver.receipts(spec(unique="u")) == (Receipt("a", False),)

        driver.put(spec(id="a", unique="u", delay=10))
        assert held()
        clock.advance(10)
        assert held()
        lease = driver.lease()
        assert held()
        driver.retry(lease, after=10)
        assert held()
        clock.advance(10)
        driver.succeed(driver.lease())
        assert not held()

    def test_a_halted_job_holds_its_unique_text_until_it_is_skipped(self, driver: Driver) -> None:
        driver.put(spec("k", id="a", unique="u"))
        driver.fail(driver.lease(), halt=True)
        assert driver.receipts(spec(id="b", unique="u")) == (Receipt("a", False),)
        driver.skip("a")
        assert driver.receipts(spec(id="b", unique="u")) == (Receipt("b", True),)

    def test_a_failed_or_cancelled_job_frees_its_unique_text(self, driver: Driver) -> None:
        driver.put(spec(id="a", unique="u"))
        driver.fail(driver.lease())
        assert driver.receipts(spec(id="b", unique="u")) == (Receipt("b", True),)
        driver.cancel("b")
        assert driver.receipts(spec(id="c", unique="u")) == (Receipt("c", True),)

    def test_a_unique_text_twice_in_a_batch_enters_once(self, driver: Driver) -> None:
        receipts = driver.receipts(spec(id="a", unique="u"), spec(id="b", unique="u"))
        assert receipts == (Receipt("a", True), Receipt("a", False))

    def test_an_id_is_looked_at_before_a_unique_text(self, driver: Driver) -> None:
        driver.put(spec(id="a", unique="u"), spec(id="b", unique="v"))
        assert driver.receipts(spec(id="b", unique="u")) == (Receipt("b", False),)
        assert driver.put_reply(spec(id="b", unique="u", payload=b"x")) == Conflict("b")

    def test_a_requeue_against_a_unique_text_is_refused(self, driver: Driver) -> None:
        driver.put(spec(id="a", unique="u"))
        driver.fail(driver.lease())
        driver.put(spec(id="b", unique="u"))
        assert driver.requeue("a") == [(State.FAILED, False, "b")]
        assert driver.claim(10) == ["b"]

    def test_a_requeued_job_holds_its_unique_text_again(self, driver: Driver) -> None:
        driver.put(spec(id="a", unique="u"))
        driver.fail(driver.lease())
        driver.requeue("a")
        assert driver.receipts(spec(id="b", unique="u")) == (Receipt("a", False),)
