"""Contract, point 3: of all jobs that may run, the highest priority goes first, then the oldest."""

from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, spec


class PriorityCases(Cases):
    """Point 3."""

    def test_the_oldest_goes_first_with_and_without_keys(self, driver: Driver) -> None:
        ids = driver.put(spec(), spec("a"), spec(), spec("b"), spec())
        assert driver.drain() == ids

    def test_the_oldest_goes_first_over_tasks_and_values(self, driver: Driver) -> None:
        specs = [spec(task=f"t{number % 3}", value=(None, "x", "y")[number % 3]) for number in range(12)]
        ids = driver.put(*specs)
        assert driver.claim(12, tasks=["t0", "t1", "t2"]) == ids

    def test_a_higher_priority_goes_first(self, driver: Driver) -> None:
        driver.put(*(spec(id=str(priority), priority=priority) for priority in (-9, 0, 9, 5, -1)))
        assert driver.drain() == ["9", "5", "0", "-1", "-9"]

    def test_equal_priorities_go_oldest_first(self, driver: Driver) -> None:
        ids = driver.put(*(spec(priority=3) for _ in range(5)))
        assert driver.claim(5) == ids

    def test_priority_never_reorders_a_key(self, driver: Driver) -> None:
        ids = driver.put(*(spec("k", priority=priority) for priority in (-9, 9, 0, 5)))
        assert driver.drain() == ids

    def test_a_key_counts_with_the_priority_of_its_head(self, driver: Driver) -> None:
        driver.put(
            spec("k", id="low", priority=-1),
            spec("k", id="behind", priority=9),
            spec(id="middle"),
            spec(id="last", priority=-2),
        )
        assert driver.drain() == ["middle", "low", "behind", "last"]

    def test_a_key_returns_to_its_age_after_each_job(self, driver: Driver) -> None:
        """No rotation: the second job of a key is older than a later key's first, and goes before it."""
        driver.put(spec("a", id="a1"), spec("a", id="a2"), spec("b", id="b1"))
        assert driver.drain() == ["a1", "a2", "b1"]

    def test_a_batch_claims_what_single_claims_would(self, driver: Driver) -> None:
        specs = [spec(f"k{number % 5}" if number % 3 else None, priority=number % 4 - 2) for number in range(30)]
        other = driver.beside("another")
        driver.put(*specs)
        other.put(*specs)
        assert driver.claim(20) == [id for _ in range(20) for id in other.claim()]
