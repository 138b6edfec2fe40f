"""Contract, points 21 and 22: reading a queue: records, pages, counts."""

import pytest

from fifoq.clock import SECOND
from fifoq.queue import MAX_PAGE
from fifoq.record import Filter, State
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, readable, spec


class PageCases(Cases):
    """Points 21 and 22."""

    def test_records_come_in_the_order_asked_with_gaps_for_the_missing(self, driver: Driver) -> None:
        driver.put(spec(id="a"), spec(id="b"))
        found = driver.run(driver.queue.get(["b", "missing", "a", "b"]))
        assert [record and readable(record).spec.id for record in found] == ["b", None, "a", "b"]
        assert driver.run(driver.queue.get([])) == ()

    @pytest.mark.parametrize("limit", [1, 3, 7, 100])
    def test_pages_show_every_record_once_in_order_of_entry(self, driver: Driver, limit: int) -> None:
        ids = driver.put(*(spec(f"k{number % 3}", priority=number % 5) for number in range(20)))
        driver.work(5)
        assert [record.spec.id for record in driver.find(limit=limit)] == ids

    def test_a_requeued_job_keeps_its_place_among_the_pages(self, driver: Driver) -> None:
        ids = driver.put(spec(), spec(), spec())
        driver.fail(driver.lease())
        driver.requeue(ids[0])
        assert [record.spec.id for record in driver.find(limit=1)] == ids

    @pytest.mark.parametrize(
        ("filter", "expected"),
        [
            (Filter(state=State.RUNNING), "a"),
            (Filter(state=State.WAITING), "bcd"),
            (Filter(state=State.SCHEDULED), "e"),
            (Filter(task="one"), "ac"),
            (Filter(key="k"), "ab"),
            (Filter(owner="o"), "bc"),
            (Filter(key="k", owner="o"), "b"),
            (Filter(task="none"), ""),
            (Filter(), "abcde"),
        ],
    )
    def test_pages_show_what_matches_each_part(self, driver: Driver, filter: Filter, expected: str) -> None:
        driver.put(
            spec("k", id="a", task="one"),
            spec("k", id="b", owner="o"),
            spec(id="c", task="one", owner="o"),
            spec(id="d"),
            spec(id="e", delay=5),
        )
        driver.claim(tasks=["one"])
        for limit in (1, 2, 10):
            assert "".join(record.spec.id for record in driver.find(filter, limit)) == expected

    def test_a_page_reads_no_more_than_so_many_records(self, driver: Driver) -> None:
        """The match is behind more records than one page reads: the page is short, and its cursor continues."""
        driver.put(*(spec() for _ in range(MAX_PAGE + 5)), spec(id="last", owner="o"))
        page = driver.run(driver.queue.find(Filter(owner="o"), 0, 10))
        assert page.records or page.cursor is not None
        assert [record.spec.id for record in driver.find(Filter(owner="o"))] == ["last"]
        page = driver.run(driver.queue.find(Filter(), 0, 10 * MAX_PAGE))
        assert len(page.records) <= MAX_PAGE

    def test_the_counts_are_by_state(self, driver: Driver) -> None:
        driver.put(*(spec(f"k{number}") for number in range(7)), spec(delay=5))
        leases = driver.leases(5)
        driver.succeed(leases[0])
        driver.fail(leases[1])
        driver.fail(leases[2], halt=True)
        driver.end_cancelled(leases[3])
        stats = driver.stats()
        assert stats[:8] == (1, 2, 1, 1, 2, 1, 0, 8)

    def test_the_age_of_the_first_in_line_counts_from_its_put(self, driver: Driver, clock: ManualClock) -> None:
        assert driver.stats().oldest_waiting is None
        driver.put(spec(id="late", delay=10))
        clock.advance(8)
        driver.put(spec(id="early"))
        assert driver.stats().oldest_waiting == 0
        clock.advance(2)
        driver.put(spec())
        assert driver.stats().oldest_waiting == 2 * SECOND
        driver.work()
        assert driver.stats().oldest_waiting == 10 * SECOND

    def test_the_first_in_line_may_be_of_any_task_priority_key_or_value(
        self, driver: Driver, clock: ManualClock
    ) -> None:
        first = (spec(priority=-9), spec(task="b"), spec("k"), spec("k"), spec(value="v"), spec(priority=9))
        for one in first:
            driver.put(one)
            clock.advance(1)
        for age, one in zip(range(6, 0, -1), first, strict=True):
            assert driver.stats().oldest_waiting == age * SECOND
            driver.cancel(one.id)
        assert driver.stats().oldest_waiting is None

    def test_a_backing_off_job_is_still_the_first_in_line(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec())
        driver.retry(driver.lease(), after=100)
        clock.advance(3)
        assert driver.stats().oldest_waiting == 3 * SECOND
