"""The life of a backend: opened, closed, reopened, twinned; several queues in one store."""

from fifoq.queue import Backend, Queue
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, MakeBackend, spec


class StoreCases(Cases):
    """The verbs of a backend, apart from those of its queues."""

    def test_it_is_a_backend_and_has_queues(self, driver: Driver) -> None:
        assert isinstance(driver.backend, Backend)
        assert isinstance(driver.queue, Queue)
        assert driver.queue.name == "queue"

    def test_a_queue_is_the_same_object_each_time(self, driver: Driver) -> None:
        assert driver.backend.queue("x") is driver.backend.queue("x")

    def test_every_backend_made_for_a_store_sees_the_same_jobs(
        self, driver: Driver, make_backend: MakeBackend, clock: ManualClock
    ) -> None:
        (a,) = driver.put(spec())
        other = Driver(make_backend(clock))
        assert other.claim() == [a]
        other.close()

    def test_a_twin_sees_the_same_jobs(self, driver: Driver) -> None:
        other = driver.twin()
        assert other.backend is not driver.backend
        (a,) = other.put(spec())
        assert driver.claim() == [a]

    def test_closing_one_backend_leaves_the_others_open(self, driver: Driver) -> None:
        other = driver.twin()
        (a,) = other.put(spec())
        other.close()
        assert driver.claim() == [a]

    def test_closing_twice_is_as_once(self, driver: Driver) -> None:
        other = driver.twin()
        other.run(other.backend.close())
        other.run(other.backend.close())
        driver.put(spec())

    def test_a_backend_may_be_closed_and_opened_again(self, driver: Driver) -> None:
        driver.twin()
        for number in range(3):
            driver.put(spec("k", id=str(number)))
            driver.reopen()
        assert driver.drain() == ["0", "1", "2"]

    def test_a_backend_may_be_opened_again_on_another_loop(self, driver: Driver) -> None:
        other = driver.twin()
        other.put(spec(id="a"))
        backend = other.backend
        other.close()
        again = Driver(backend)
        assert again.claim() == ["a"]
        again.close()

    def test_queues_are_listed_in_order_of_name(self, driver: Driver) -> None:
        for name in ("b", "a b", "ü", "a", "B"):
            driver.beside(name).put(spec())
        assert driver.run(driver.backend.queues()) == ("B", "a", "a b", "b", "ü")

    def test_a_check_reaches_the_store(self, driver: Driver) -> None:
        notes = driver.run(driver.backend.check())
        assert all(isinstance(note, str) for note in notes)

    def test_names_keys_ids_and_bytes_come_back_as_they_went(self, driver: Driver) -> None:
        odd = "Ä b'\"%_{}:\\/\U0001f600"
        asked = spec(odd, id=odd, task=odd, value=odd, unique=odd, owner=odd, meta=bytes(range(256)), payload=b"\x00'")
        driver.put(asked)
        driver.pause(task=odd)
        driver.resume(task=odd)
        lease = driver.lease(tasks=[odd], worker=odd)
        assert lease.spec == asked
        driver.cancel(odd, reason=odd)
        driver.extend(lease, progress=b"\xff\x00")
        record = driver.record(odd)
        assert (record.spec, record.worker, record.reason, record.progress) == (asked, odd, odd, b"\xff\x00")

    def test_the_longest_names_are_taken(self, driver: Driver) -> None:
        longest = "ü" * 128
        driver.put(spec(longest, id=longest, task=longest, value=longest, unique=longest, owner=longest))
        assert driver.claim(tasks=[longest]) == [longest]

    def test_an_audit_reads_every_record(self, driver: Driver) -> None:
        driver.put(*(spec(f"k{number % 3}") for number in range(10)), spec(delay=1))
        driver.work(2)
        assert driver.audit() == ((), 11)
