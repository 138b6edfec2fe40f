"""Contract, point 1: entry. The order of puts is the order of the line."""

from fifoq.queue import Receipt
from fifoq.record import Claimed, State
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, spec


class EntryCases(Cases):
    """Point 1."""

    def test_a_put_gives_entry_and_seq_from_one_counter_in_list_order(self, driver: Driver) -> None:
        first = driver.put(spec(), spec())
        second = driver.put(spec())
        records = [driver.record(id) for id in first + second]
        assert [(record.entry, record.seq) for record in records] == [(1, 1), (2, 2), (3, 3)]

    def test_a_put_shows_which_jobs_it_created(self, driver: Driver) -> None:
        assert driver.receipts(spec(id="a"), spec(id="b")) == (Receipt("a", True), Receipt("b", True))

    def test_a_new_job_is_waiting_and_untouched(self, driver: Driver) -> None:
        asked = spec("k", payload=b"\x00\xff", value="v", priority=-9, owner="o", meta=b"m", unique="u", retain=5)
        driver.put(asked)
        record = driver.record(asked.id)
        assert record.spec == asked
        assert (record.state, record.attempt, record.crashes) == (State.WAITING, 0, 0)
        assert record.due_at is record.started_at is record.finished_at is record.worker is None
        assert record.result is record.error is record.progress is record.reason is None
        assert not record.cancel_requested
        assert not record.halted

    def test_batches_of_one_put_enter_one_after_another(self, driver: Driver) -> None:
        driver.put_batches([spec("k", id="a"), spec("k", id="b")], [spec("k", id="c")])
        assert driver.drain() == ["a", "b", "c"]

    def test_a_refused_batch_does_not_touch_the_batches_beside_it(self, driver: Driver) -> None:
        driver.declare(capacity=2)
        replies = driver.put_batches([spec(id="a")], [spec(id="b"), spec(id="c")], [spec(id="d")])
        assert [isinstance(reply, tuple) and isinstance(reply[0], Receipt) for reply in replies] == [True, False, True]
        assert driver.drain() == ["a", "d"]

    def test_puts_of_different_backends_enter_in_the_order_in_which_they_returned(self, driver: Driver) -> None:
        other = driver.twin()
        for number in range(10):
            (driver, other)[number % 2].put(spec("k", id=str(number)))
        assert driver.drain() == [str(number) for number in range(10)]

    def test_a_number_is_never_given_out_again_after_its_job_was_removed(self, driver: Driver) -> None:
        for number in range(1, 5):
            (id,) = driver.put(spec("k"))
            assert driver.record(id).entry == number
            driver.succeed(driver.lease(), retain=0)
        driver.reopen()
        (id,) = driver.put(spec("k"))
        assert driver.record(id).entry == 5

    def test_the_last_number_is_not_given_out_again_after_the_last_job_was_cancelled(self, driver: Driver) -> None:
        driver.put(spec(id="a"), spec(id="b"))
        driver.cancel("b")
        driver.put(spec(id="c"))
        assert driver.get("b") is None
        assert driver.record("c").seq == 3

    def test_queues_of_one_store_have_nothing_in_common(self, driver: Driver) -> None:
        other = driver.beside("another")
        driver.put(spec("k", id="same"))
        other.put(spec("k", id="same", payload=b"other"))
        driver.pause()
        assert driver.claim() == []
        lease = other.lease()
        assert (lease.entry, lease.fence, lease.spec.payload) == (1, 1, b"other")

    def test_a_queue_is_made_by_its_first_put_or_configure(self, driver: Driver) -> None:
        put, configured = driver.beside("b"), driver.beside("a")
        driver.stats()
        driver.claim()
        assert driver.run(driver.backend.queues()) == ()
        put.put(spec())
        configured.pause()
        assert driver.run(driver.backend.queues()) == ("a", "b")

    def test_a_queue_that_is_not_made_yet_is_empty(self, driver: Driver) -> None:
        assert driver.claim_reply(3) == Claimed((), None)
        assert driver.get("x") is None
        assert driver.find() == []
        assert driver.blocked() == []
        assert driver.purge() == 0
        assert [one.state for one in driver.cancel("x") + driver.requeue("x") + driver.skip("x")] == [None] * 3
        assert driver.stats()[:9] == (0, 0, 0, 0, 0, 0, 0, 0, None)
