"""Contract, points 5 and 19: pauses block claims and nothing else; blocked keys are listed."""

from fifoq.clock import SECOND
from fifoq.queue import BlockedKeyRecord
from fifoq.record import Hold, State
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, spec


class PauseCases(Cases):
    """Points 5 and 19."""

    def test_a_paused_queue_gives_nothing(self, driver: Driver) -> None:
        ids = driver.put(spec(), spec("k"))
        driver.pause()
        assert driver.stats().gates[0].paused
        assert driver.claim(10) == []
        driver.resume()
        assert driver.claim(10) == ids

    def test_a_paused_task_gives_nothing_and_others_do(self, driver: Driver) -> None:
        a, b = driver.put(spec(task="one"), spec(task="two"))
        driver.pause(task="one")
        assert driver.claim(10, tasks=["one", "two"]) == [b]
        driver.resume(task="one")
        assert driver.claim(10, tasks=["one", "two"]) == [a]

    def test_a_paused_key_gives_nothing_and_others_do(self, driver: Driver) -> None:
        a, _, b, c = driver.put(spec("k"), spec("k"), spec("other"), spec())
        driver.pause(key="k")
        assert driver.claim(10) == [b, c]
        driver.resume(key="k")
        assert driver.claim(10) == [a]

    def test_a_key_may_be_paused_before_it_has_jobs(self, driver: Driver) -> None:
        driver.pause(key="k")
        (a,) = driver.put(spec("k"))
        assert driver.claim() == []
        driver.resume(key="k")
        assert driver.claim() == [a]

    def test_pausing_and_resuming_twice_is_as_once(self, driver: Driver) -> None:
        for place in ({}, {"task": "task"}, {"key": "k"}):
            (a,) = driver.put(spec("k"))
            driver.pause(**place)
            driver.pause(**place)
            assert driver.claim() == []
            driver.resume(**place)
            driver.resume(**place)
            assert driver.drain() == [a]

    def test_resuming_lifts_exactly_one_pause(self, driver: Driver) -> None:
        (a,) = driver.put(spec("k"))
        driver.pause()
        driver.pause(task="task")
        driver.pause(key="k")
        driver.resume(key="k")
        assert driver.claim() == []
        driver.resume()
        assert driver.claim() == []
        driver.resume(task="task")
        assert driver.claim() == [a]

    def test_a_pause_blocks_only_claims(self, driver: Driver, clock: ManualClock) -> None:
        a, b = driver.put(spec("a"), spec("b"))
        first, second = driver.leases(2, lease=5 * SECOND)
        driver.pause()
        driver.pause(key="a")
        assert driver.extend(first, 5) is Hold.HELD
        assert driver.succeed(first) is State.SUCCEEDED
        driver.put(spec("a"), spec(delay=1))
        clock.advance(5)
        assert driver.claim() == []
        assert driver.states(a, b) == [State.SUCCEEDED, State.WAITING]
        assert driver.record(b).crashes == 1
        assert driver.succeed(second) is None
        assert driver.stats().scheduled == 0

    def test_a_pause_is_for_good(self, driver: Driver) -> None:
        driver.put(spec("k"))
        driver.pause(key="k")
        driver.twin()
        driver.reopen()
        assert driver.claim() == []

    def test_a_retry_on_a_paused_key_waits_for_the_resume(self, driver: Driver) -> None:
        a, b = driver.put(spec("k"), spec("k"))
        lease = driver.lease()
        driver.pause(key="k")
        driver.retry(lease)
        assert driver.claim() == []
        driver.resume(key="k")
        assert driver.drain() == [a, b]

    def test_blocked_keys_show_by_which_job_why_and_since_when(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(*(spec(key, id=key) for key in ("halted", "retried", "free", "running")))
        halted, retried, _, _ = driver.leases(4)
        times: list[int] = []
        for step in (
            lambda: driver.fail(halted, halt=True),
            lambda: driver.retry(retried, after=100),
            lambda: driver.put(spec("delayed", id="delayed", delay=100, in_line=True)),
            lambda: driver.pause(key="paused"),
        ):
            clock.advance(1)
            times.append(clock.now())
            step()
        assert driver.blocked() == [
            BlockedKeyRecord("halted", "halted", "halted", times[0]),
            BlockedKeyRecord("retried", "retried", "backing off", times[1]),
            BlockedKeyRecord("delayed", "delayed", "backing off", times[2]),
            BlockedKeyRecord("paused", None, "paused", times[3]),
        ]

    def test_of_several_reasons_the_first_is_listed(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec("h", id="h"), spec("b", id="b"))
        halted, retried = driver.leases(2)
        driver.retry(retried, after=100)
        clock.advance(1)
        driver.fail(halted, halt=True)
        failed = clock.now()
        clock.advance(1)
        driver.pause(key="h")
        driver.pause(key="b")
        assert set(driver.blocked()) == {
            BlockedKeyRecord("h", "h", "halted", failed),
            BlockedKeyRecord("b", "b", "paused", clock.now()),
        }

    def test_a_pause_keeps_the_time_of_its_beginning(self, driver: Driver, clock: ManualClock) -> None:
        driver.pause(key="k")
        begun = clock.now()
        clock.advance(5)
        driver.pause(key="k")
        assert driver.blocked() == [BlockedKeyRecord("k", None, "paused", begun)]

    def test_a_key_is_blocked_no_longer_once_its_reason_is_gone(self, driver: Driver, clock: ManualClock) -> None:
        driver.put(spec("h", id="h"), spec("b", id="b"))
        halted, retried = driver.leases(2)
        driver.fail(halted, halt=True)
        driver.retry(retried, after=10)
        driver.pause(key="p")
        assert len(driver.blocked()) == 3
        driver.skip("h")
        driver.resume(key="p")
        clock.advance(10)
        driver.put(spec())
        assert driver.blocked() == []

    def test_blocked_keys_of_an_owner_are_those_whose_head_is_a_job_of_that_owner(
        self, driver: Driver, clock: ManualClock
    ) -> None:
        owners = {f"k{number}": ("ada", "bob", None)[number % 3] for number in range(21)}
        driver.put(*(spec(key, id=key, owner=owner) for key, owner in owners.items()))
        driver.put(*(spec(key, owner="bob") for key in owners), *(spec(f"free{n}", owner="bob") for n in range(3)))
        for number, lease in enumerate(driver.leases(21)):
            clock.advance(number % 2)
            driver.fail(lease, halt=True) if number % 4 else driver.retry(lease, after=1000)
        driver.pause(key="k2")
        driver.pause(key="none")
        assert len(driver.blocked()) == 22
        for owner in ("ada", "bob", "eve"):
            own = [one for one in driver.blocked() if one.job_id and owners[one.key] == owner]
            assert len(own) == (0 if owner == "eve" else 7)
            for limit in (1, 2, 7, 100):
                assert driver.blocked(limit, owner) == own

    def test_a_full_page_of_an_owner_has_a_cursor_that_depends_on_the_keys_shown_alone(self, driver: Driver) -> None:
        driver.put(*(spec(f"{owner}{number}", owner=owner) for number in range(3) for owner in ("ada", "bob")))
        for lease in driver.leases(6):
            driver.fail(lease, halt=True)
        page = driver.run(driver.queue.blocked_keys(None, 2, "bob"))
        assert [key.key for key in page.keys] == ["bob0", "bob1"]
        assert page.cursor is not None
        assert "ada" not in page.cursor

    def test_blocked_keys_are_paged_each_once(self, driver: Driver, clock: ManualClock) -> None:
        for number in range(25):
            driver.pause(key=f"k{number}")
            clock.advance(number % 2)
        whole = driver.blocked()
        assert [one.since for one in whole] == sorted(one.since for one in whole)
        for limit in (1, 2, 7, 25):
            paged = driver.blocked(limit)
            assert sorted(one.key for one in paged) == sorted(one.key for one in whole)
            assert [one.since for one in paged] == [one.since for one in whole]
