"""Rates of enqueues and drains on SQLite: fifoq against the other contestants, round by round in turn."""

import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.contestants.on_sqlite import FLIGHT, Open, Opened, bare_commit, fifoq, huey, persist_queue
from benchmarks.counter import TimedJobCounter
from benchmarks.measure import Pace, Paces, Run, Stopwatch, interleaved, table

LEVELS = ("full", "normal")
OURS = "fifoq"


class Comparison(NamedTuple):
    """Contestants, a round of one, and the ratio by which fifoq is to be faster than the first of the others."""

    contestants: Mapping[str, Open]
    round: Callable[[Opened, int], Awaitable[Pace]]
    targets: Mapping[str, tuple[float, float]]
    """The target and the aim, by `synchronous`."""


async def enqueue_one_by_one(contestant: Opened, jobs: int) -> Pace:
    watch = Stopwatch()
    for _ in range(jobs):
        await contestant.one()
    return watch.pace(jobs)


async def enqueue_in_flights(contestant: Opened, jobs: int) -> Pace:
    watch = Stopwatch()
    for _ in range(jobs // FLIGHT):
        await contestant.flight()
    return watch.pace(jobs // FLIGHT * FLIGHT)


async def drain(contestant: Opened, jobs: int) -> Pace:
    """From the first job's start to the last's, so that the start of a worker does not count."""
    await enqueue_in_flights(contestant, jobs)
    counter = TimedJobCounter()
    counter.expect(jobs // FLIGHT * FLIGHT)
    await contestant.run(counter)
    return counter.pace()


ONE_BY_ONE = Comparison(
    {
        OURS: fifoq,
        "persist-queue": persist_queue,
        "persist-queue, its own journal": partial(persist_queue, journal="DELETE"),
        "huey": huey,
        "bare commit": bare_commit,
    },
    enqueue_one_by_one,
    {"full": (1.4, 1.4), "normal": (1.4, 1.8)},
)
IN_FLIGHT = Comparison({OURS: fifoq, "huey": huey}, enqueue_in_flights, {"full": (5, 5), "normal": (1.2, 1.2)})
DRAIN = Comparison({OURS: fifoq, "huey": huey}, drain, {"full": (4, 6), "normal": (1.5, 2)})


async def compare(comparison: Comparison, jobs: int, rounds: int) -> str:
    """Return the table of one comparison, at both levels."""
    rows: list[list[str]] = []
    for level in LEVELS:
        with tempfile.TemporaryDirectory() as folder:
            async with AsyncExitStack() as stack:
                opened = {
                    name: await stack.enter_async_context(open(Path(folder), level))
                    for name, open in comparison.contestants.items()
                }
                runs = {name: _run(comparison, contestant, jobs) for name, contestant in opened.items()}
                rows += _rows(comparison, level, await interleaved(runs, rounds))
    return table(["synchronous", "contestant", "jobs/s", "CPU µs", "fifoq is", "by CPU", "target", ""], rows)


def _run(comparison: Comparison, contestant: Opened, jobs: int) -> Run:
    return lambda: comparison.round(contestant, jobs)


def _rows(comparison: Comparison, level: str, paces: Mapping[str, Paces]) -> Sequence[list[str]]:
    ours = paces[OURS]
    rows = [[level.upper(), OURS, str(ours.rate), f"{ours.cost.median:.1f}", "", "", "", ""]]
    least, aim = comparison.targets[level]
    for index, (name, theirs) in enumerate(list(paces.items())[1:]):
        ratio = ours.rate.median / theirs.rate.median
        by_cost = theirs.cost.median / ours.cost.median
        # The target is against the first of them; the others are shown for comparison.
        target = "" if index else f"{least:g}" + (f", aim {aim:g}" if aim > least else "")
        met = "" if index else "met" if ratio >= least else "MISSED"
        rows.append(
            [level.upper(), name, str(theirs.rate), f"{theirs.cost.median:.1f}", f"{ratio:.2f} ×", f"{by_cost:.2f} ×",
             target, met]
        )  # fmt: skip
        print(f"  {level}: {ratio:.2f} × {name}, by CPU {by_cost:.2f} × {met}", flush=True)
    return rows
