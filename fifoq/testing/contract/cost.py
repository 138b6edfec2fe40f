"""
Contract, point 22: the cost of a call does not depend on the number of jobs.

The cost is counted, not timed: the lines of Python that the calling thread runs, which are the same on a busy machine.
Work of a store in C or in a server is not counted here; the backend's own tests measure it.
"""

import sys
from collections.abc import Callable
from statistics import median
from types import FrameType
from typing import Any

import pytest

from fifoq.clock import SECOND
from fifoq.limits import Limit
from fifoq.record import Lease
from fifoq.testing.contract.base import Cases
from fifoq.testing.driver import Driver, MakeBackend, spec

FEW, MANY = 100, 4_000


def one_deep_line(driver: Driver, n: int) -> None:
    """All jobs wait behind the one running job of a key."""
    driver.put(*(spec("deep") for _ in range(n)))
    driver.claim()


def many_keys(driver: Driver, n: int) -> None:
    """Every job has a key of its own, and a lower priority than the jobs that the case puts."""
    driver.put(*(spec(f"k{number}", priority=-1) for number in range(n)))


def many_halted_keys(driver: Driver, n: int) -> None:
    driver.put(*(spec(f"k{number}") for number in range(n)), *(spec(f"k{number}") for number in range(n)))
    for lease in driver.leases(n):
        driver.fail(lease, halt=True)


def many_paused_keys(driver: Driver, n: int) -> None:
    for number in range(n):
        driver.pause(key=f"k{number}")
    driver.put(*(spec(f"k{number}", priority=9) for number in range(n)))


def many_backing_off(driver: Driver, n: int) -> None:
    driver.put(*(spec(f"k{number}", delay=1_000, in_line=number % 2 == 0) for number in range(n)))


def many_over_a_limit(driver: Driver, n: int) -> None:
    """All older jobs are at a full gate: of a task, or of a value."""
    driver.declare("full", limit=1)
    driver.declare("narrow", limit=Limit(1, by="tenant"))
    driver.put(*(spec(task="full", priority=9) for _ in range(n)))
    driver.put(*(spec(task="narrow", value=f"v{number // 2}", priority=9) for number in range(n)))
    driver.claim(n, tasks=["full", "narrow"])


def many_running(driver: Driver, n: int) -> None:
    driver.put(*(spec() for _ in range(n)))
    driver.claim(n, lease=10_000 * SECOND)


def many_ended(driver: Driver, n: int) -> None:
    driver.put(*(spec() for _ in range(n)))
    driver.work(n)


SHAPES = (
    one_deep_line,
    many_keys,
    many_halted_keys,
    many_paused_keys,
    many_backing_off,
    many_over_a_limit,
    many_running,
    many_ended,
)


class CostCases(Cases):
    """Point 22."""

    @pytest.mark.parametrize("shape", SHAPES)
    def test_no_call_costs_more_for_what_else_there_is(
        self, make_backend: MakeBackend, shape: Callable[[Driver, int], None]
    ) -> None:
        few, many = (costs(make_backend, shape, n) for n in (FEW, MANY))
        # Room for log(n), for pages of a fixed size and for tidying up now and then; a scan runs a line per job.
        slack = (MANY - FEW) / 5
        grown = {verb: (few[verb], many[verb]) for verb in few if many[verb] > few[verb] + slack}
        assert not grown, f"lines run per call, with {FEW} and with {MANY}: {grown}"


def costs(make_backend: MakeBackend, shape: Callable[[Driver, int], None], n: int) -> dict[str, float]:
    """Return the lines that each call runs, in a queue of that shape: the median of nine samples."""
    driver = Driver(make_backend(None), f"{shape.__name__} of {n}")
    try:
        shape(driver, n)
        samples = [_sample(driver) for _ in range(9)]
    finally:
        driver.close()
    return {verb: median(sample[verb] for sample in samples) for verb in samples[0]}


def _sample(driver: Driver) -> dict[str, int]:
    """Return the cost of one round of calls, on a job that may run at once and on one in a deep line."""
    first, second, third = spec("own"), spec("own"), spec("deep")
    leases: list[Lease] = []
    return {
        "put": lines(lambda: driver.put(first, second, third)),
        "claim": lines(lambda: leases.append(driver.lease())),
        "extend": lines(lambda: driver.extend(leases[0])),
        "settle": lines(lambda: driver.succeed(leases[0])),
        "cancel": lines(lambda: driver.cancel(second.id, third.id)),
        "get": lines(lambda: driver.get(first.id)),
        "stats": lines(driver.stats),
    }


def lines(action: Callable[[], Any]) -> int:
    """Count the lines of Python that this thread runs during an action."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count
