"""Contract, points 8, 9 and 12: limits nest, are taken whole or not at all, and live in the backend."""

from fifoq.clock import SECOND
from fifoq.limits import Limit
from fifoq.record import State
from fifoq.testing.clock import ManualClock
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, spec


class LimitCases(Cases):
    """Points 8, 9 and 12."""

    def test_a_queue_runs_no_more_than_its_limit(self, driver: Driver) -> None:
        driver.declare(limit=2)
        ids = driver.put(*(spec() for _ in range(5)))
        leases = driver.leases(10)
        assert [lease.spec.id for lease in leases] == ids[:2]
        assert driver.claim(10) == []
        driver.succeed(leases[0])
        assert driver.claim(10) == [ids[2]]

    def test_a_task_runs_no_more_than_its_limit(self, driver: Driver) -> None:
        driver.declare("one", limit=1)
        a, b, c = driver.put(spec(task="one"), spec(task="one"), spec(task="two"))
        leases = driver.leases(10, tasks=["one", "two"])
        assert [lease.spec.id for lease in leases] == [a, c]
        driver.succeed(leases[1])
        assert driver.claim(10, tasks=["one", "two"]) == []
        driver.succeed(leases[0])
        assert driver.claim(10, tasks=["one", "two"]) == [b]

    def test_each_value_runs_no_more_than_the_value_limit(self, driver: Driver) -> None:
        driver.declare("task", limit=Limit(2, by="tenant"))
        driver.put(*(spec(id=f"{value}{number}", value=value) for number in range(4) for value in ("x", "y")))
        driver.put(spec(id="free"), spec(id="free too"))
        leases = driver.leases(20)
        assert [lease.spec.id for lease in leases] == ["x0", "y0", "x1", "y1", "free", "free too"]
        driver.succeed(leases[1])
        assert driver.claim(20) == ["y2"]

    def test_limits_nest(self, driver: Driver) -> None:
        driver.declare(limit=5)
        driver.declare("one", limit=[Limit(3), Limit(2, by="tenant")])
        driver.put(*(spec(id=f"x{number}", task="one", value="x") for number in range(4)))
        driver.put(*(spec(id=f"y{number}", task="one", value="y") for number in range(4)))
        driver.put(*(spec(id=f"z{number}", task="two") for number in range(4)))
        tasks = ["one", "two"]
        leases = {lease.spec.id: lease for lease in driver.leases(20, tasks=tasks)}
        assert list(leases) == ["x0", "x1", "y0", "z0", "z1"]
        driver.succeed(leases["x0"])
        assert driver.claim(20, tasks=tasks) == ["x2"]
        driver.succeed(leases["y0"])
        assert driver.claim(20, tasks=tasks) == ["y1"]
        driver.succeed(leases["z0"])
        assert driver.claim(20, tasks=tasks) == ["z2"]

    def test_jobs_over_a_limit_do_not_hide_others(self, driver: Driver) -> None:
        driver.declare("full", limit=1)
        driver.put(*(spec(f"k{number}", task="full", priority=9) for number in range(50)))
        driver.put(spec(id="other"))
        assert len(driver.claim(10, tasks=["full"])) == 1
        assert driver.claim(10, tasks=["full", "task"]) == ["other"]

    def test_a_slot_of_an_outer_limit_is_not_held_while_an_inner_one_is_full(self, driver: Driver) -> None:
        """Nothing is taken by a job that cannot take all: no hold and wait."""
        driver.declare(limit=2)
        driver.declare("one", limit=1)
        driver.put(spec(task="one"), spec(task="one"), spec(id="two", task="two"))
        driver.claim(tasks=["one"])
        assert driver.claim(5, tasks=["one"]) == []
        assert driver.stats().running == 1
        assert driver.claim(5, tasks=["one", "two"]) == ["two"]

    def test_the_oldest_goes_first_when_a_limit_opens(self, driver: Driver) -> None:
        driver.declare("one", limit=1)
        driver.declare("two", limit=1)
        driver.put(*(spec(id=f"{task}{number}", task=task) for number in range(3) for task in ("one", "two")))
        both = ["one", "two"]
        assert [driver.work(2, tasks=both) for _ in range(3)] == [["one0", "two0"], ["one1", "two1"], ["one2", "two2"]]

    def test_every_end_of_a_lease_frees_its_slot(self, driver: Driver) -> None:
        driver.declare(limit=1)
        driver.declare("task", limit=[Limit(1), Limit(1, by="tenant")])
        driver.put(*(spec(f"k{number}", value="x") for number in range(6)))
        ends = (driver.succeed, driver.fail, driver.end_cancelled, driver.retry, driver.release)
        for end in ends:
            assert end(driver.lease()) is not None
        driver.fail(driver.lease(), halt=True)
        assert len(driver.claim(5)) == 1

    def test_a_job_that_backs_off_holds_no_slot(self, driver: Driver) -> None:
        driver.declare(limit=1)
        driver.declare("task", limit=[Limit(1), Limit(1, by="tenant")])
        _, b = driver.put(spec("a", value="x"), spec("b", value="x"))
        driver.retry(driver.lease(), after=100)
        assert driver.claim() == [b]

    def test_a_crash_leaks_no_slot(self, driver: Driver, clock: ManualClock) -> None:
        driver.declare(limit=2)
        driver.declare("task", limit=[Limit(2), Limit(1, by="tenant")])
        ids = driver.put(*(spec(value=f"v{number}") for number in range(4)))
        for _ in range(5):
            assert driver.claim(10, lease=SECOND) == ids[:2]
            clock.advance(1)
        assert driver.claim(10) == ids[:2]
        assert driver.stats().running == 2

    def test_a_second_settle_frees_nothing_twice(self, driver: Driver) -> None:
        driver.declare(limit=2)
        driver.put(*(spec() for _ in range(6)))
        lease, _ = driver.leases(2)
        assert driver.succeed(lease) is State.SUCCEEDED
        assert driver.succeed(lease) is None
        assert driver.release(lease) is None
        assert len(driver.claim(10)) == 1

    def test_a_stale_settle_after_a_crash_frees_nothing(self, driver: Driver, clock: ManualClock) -> None:
        driver.declare(limit=1)
        driver.put(spec(id="a"), spec(id="b"))
        stale = driver.lease(lease=SECOND)
        clock.advance(1)
        assert driver.claim() == ["a"]
        assert driver.succeed(stale) is None
        assert driver.claim() == []

    def test_a_lowered_limit_drains_and_revokes_nothing(self, driver: Driver) -> None:
        driver.declare(limit=3)
        driver.put(*(spec() for _ in range(6)))
        leases = driver.leases(3)
        driver.declare(limit=1)
        for lease in leases[:2]:
            assert driver.succeed(lease) is State.SUCCEEDED
            assert driver.claim(10) == []
        driver.succeed(leases[2])
        assert len(driver.claim(10)) == 1

    def test_a_raised_limit_counts_at_the_next_claim(self, driver: Driver) -> None:
        driver.declare("task", limit=1)
        driver.put(*(spec() for _ in range(6)))
        driver.claim()
        assert driver.claim(10) == []
        driver.declare("task", limit=3)
        assert len(driver.claim(10)) == 2

    def test_a_value_limit_counts_the_leases_taken_before_it_was_declared(self, driver: Driver) -> None:
        driver.put(*(spec(value="x") for _ in range(6)))
        driver.claim(2)
        driver.declare("task", limit=Limit(3, by="tenant"))
        assert len(driver.claim(10)) == 1

    def test_the_last_declaration_counts(self, driver: Driver) -> None:
        driver.put(*(spec() for _ in range(6)))
        driver.declare(limit=5)
        driver.twin().declare(limit=2)
        assert len(driver.claim(10)) == 2
        driver.declare()
        assert len(driver.claim(10)) == 4

    def test_an_override_beats_every_declaration_until_it_is_lifted(self, driver: Driver) -> None:
        driver.put(*(spec() for _ in range(9)))
        driver.declare(limit=1)
        driver.override(limit=3)
        driver.declare(limit=2)
        gate = driver.stats().gates[0]
        assert (gate.settings.limit, gate.overridden) == (3, True)
        leases = driver.leases(10)
        assert len(leases) == 3
        driver.override()
        gate = driver.stats().gates[0]
        assert (gate.settings.limit, gate.overridden) == (2, False)
        driver.succeed(leases[0])
        assert driver.claim(10) == []
        driver.succeed(leases[1])
        assert len(driver.claim(10)) == 1

    def test_an_override_is_of_all_settings_at_once(self, driver: Driver) -> None:
        driver.declare("task", limit=1, capacity=2)
        driver.override("task", capacity=5)
        driver.put(*(spec() for _ in range(5)))
        assert len(driver.claim(10)) == 5

    def test_settings_outlive_the_backend_that_wrote_them(self, driver: Driver) -> None:
        driver.declare(limit=1)
        driver.put(spec(), spec())
        driver.twin()
        driver.reopen()
        assert len(driver.claim(10)) == 1

    def test_the_gates_are_listed_with_their_counts(self, driver: Driver) -> None:
        driver.declare("b", limit=2)
        driver.put(spec(task="b"), spec(task="a"), spec(task="a", delay=5))
        driver.claim(tasks=["a"])
        driver.pause(task="c")
        gates = [(gate.task, gate.live, gate.running, gate.paused) for gate in driver.stats().gates]
        assert gates == [(None, 3, 1, False), ("a", 2, 1, False), ("b", 1, 0, False), ("c", 0, 0, True)]
