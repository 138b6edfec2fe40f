"""A store that breaks a promise is caught in real processes: what the history never showed, it does not prove."""

import signal

import pytest

from fifoq.testing.history import Rule
from tests.system.chaos.controller import Controller

LEASE = 0.3
JOBS = 60
FAULTS: dict[str, set[Rule]] = {
    "WrappedQueue": set(),
    "IgnoresTokens": {Rule.SETTLE},
    "LeasesShortly": {Rule.LEASE},
    "IgnoresKeys": {Rule.OVERLAP},
    "AnswersFirst": {Rule.LOST},
    "IgnoresIds": {Rule.UNEXPECTED},
    # The old worker is told that it holds the lease: while the new attempt runs, or, if it thaws late, after that.
    "ExtendsForAll": {Rule.OVERLAP, Rule.LEASE},
    "Forgets": {Rule.LOST},
}
"""By fault: the rules of which one shows it."""


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_store_that_breaks_a_promise_is_caught(controller: Controller, fault: str) -> None:
    """A producer is killed and repeats its puts; of two workers one is frozen twice for longer than its lease."""
    jobs = {"prefix": "job", "count": JOBS, "keys": 4, "slow": 0.2, "lease": LEASE, "fault": fault}
    controller.start("producer", "p1", point="after put", nth=5, **jobs)
    await controller.until(lambda: "p1" in controller.codes)
    for name, point in {"f1": "before settle", "f2": "in task"}.items():
        controller.start("worker", name, point=point, nth=2, strike="SIGSTOP", lease=LEASE, fault=fault)
    controller.start("producer", "p2", **jobs)
    await controller.until(
        lambda: controller.heard("f1", "struck") and controller.heard("f2", "struck"), "the freezing"
    )
    controller.start("worker", "w", lease=LEASE, fault=fault)
    for name in ("f1", "f2"):
        await controller.outrun(name)
        controller.signal(name, signal.SIGCONT)
    await controller.until(lambda: "p2" in controller.codes)
    await controller.until(controller.all_done)
    await controller.stop("w", "f1", "f2")
    report = await controller.history()
    expected = FAULTS[fault]
    assert report.rules & expected if expected else report.ok, str(report)
