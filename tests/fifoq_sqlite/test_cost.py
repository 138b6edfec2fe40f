"""A call costs the same however many jobs wait, counted in steps of SQLite's machine: a measure free of the load."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fifoq.limits import Limit
from fifoq.record import Filter, Lease
from fifoq.testing import Driver, ManualClock, spec
from fifoq_sqlite import SqliteBackend, damage

FEW, MANY = 200, 20_000


class CountingDriver(Driver):
    """A driver that counts the steps of its calls."""

    def __init__(self, path: Path) -> None:
        super().__init__(SqliteBackend(f"sqlite:///{path}?synchronous=normal", clock=ManualClock()))

    def steps(self, action: Callable[[], object]) -> int:
        """Run an action and return the steps of both connections during it."""
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        assert isinstance(self.backend, SqliteBackend)
        store = self.backend._store
        assert store is not None
        connections = (store._write_connection, store._read_connection)
        for connection in connections:
            self.run(connection.run(lambda raw: raw.set_progress_handler(step, 1)))
        action()
        for connection in connections:
            self.run(connection.run(lambda raw: raw.set_progress_handler(None, 1)))
        return count


def deep_line(driver: Driver, n: int) -> None:
    driver.put(*(spec("busy") for _ in range(n)))
    driver.claim()


def many_keys(driver: Driver, n: int) -> None:
    driver.put(*(spec(f"k{number}", priority=-1) for number in range(n)))


def many_ended(driver: Driver, n: int) -> None:
    driver.put(*(spec() for _ in range(n)))
    for lease in driver.leases(n):
        driver.succeed(lease)


def many_values(driver: Driver, n: int) -> None:
    driver.declare("task", limit=Limit(1, by="tenant"))
    driver.put(*(spec(value=f"v{number // 2}", priority=-1) for number in range(n)))
    driver.claim(n // 4)


def many_timers(driver: Driver, n: int) -> None:
    driver.put(*(spec(f"k{number}", delay=1_000, in_line=number % 2 == 0) for number in range(n)))


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], CountingDriver]]:
    made: list[CountingDriver] = []
    # A purge looks at so many rows for damage, however many there are: here at fewer than the smallest queue has.
    monkeypatch.setattr(damage, "MAX_PAGE", 40)

    def make() -> CountingDriver:
        made.append(CountingDriver(tmp_path / f"{len(made)}.db"))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.mark.parametrize("shape", [deep_line, many_keys, many_values, many_timers])
def test_no_call_takes_more_steps_with_more_waiting(
    make: Callable[[], CountingDriver], shape: Callable[[Driver, int], None]
) -> None:
    few, many = (_costs(make(), shape, n) for n in (FEW, MANY))
    assert {verb: cost for verb, cost in many.items() if cost > 1.5 * few[verb] + 50} == {}, f"with few: {few}"


def test_more_ended_jobs_cost_nothing(make: Callable[[], CountingDriver]) -> None:
    few, many = (_costs(make(), many_ended, n) for n in (50, 1_000))
    assert {verb: cost for verb, cost in many.items() if cost > 1.5 * few[verb] + 50} == {}, f"with few: {few}"


def _costs(driver: CountingDriver, shape: Callable[[Driver, int], None], n: int) -> dict[str, int]:
    shape(driver, n)
    own = [spec("own"), spec("own"), spec(value="v0")]
    costs = {"put": driver.steps(lambda: driver.put(*own))}
    leases: list[Lease] = []
    costs["claim"] = driver.steps(lambda: leases.extend(driver.leases(1)))
    costs["extend"] = driver.steps(lambda: driver.extend(leases[0]))
    costs["settle"] = driver.steps(lambda: driver.succeed(leases[0]))
    costs["claim again"] = driver.steps(lambda: leases.extend(driver.leases(1)))
    costs["retry"] = driver.steps(lambda: driver.retry(leases[1]))
    costs["cancel"] = driver.steps(lambda: driver.cancel(own[1].id, own[2].id))
    costs["get"] = driver.steps(lambda: driver.get(own[0].id))
    costs["stats"] = driver.steps(driver.stats)
    costs["find"] = driver.steps(lambda: driver.run(driver.queue.find(Filter(), 0, 10)))
    costs["purge"] = driver.steps(driver.purge)
    return costs
