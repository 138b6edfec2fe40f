"""Tools of all benchmarks: interleaved rounds, medians with their spread, and tables."""

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """The median of some rounds, and their extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:,.0f} [{self.low:,.0f}..{self.high:,.0f}]"

    def fine(self) -> str:
        """The same with two decimals: for microseconds."""
        return f"{self.median:,.2f} [{self.low:,.2f}..{self.high:,.2f}]"


class Pace(NamedTuple):
    """The result of one round: jobs a second, and microseconds of processor time a job."""

    rate: float
    cost: float


class Paces(NamedTuple):
    """The results of all rounds of one contestant."""

    rate: Spread
    cost: Spread


Run = Callable[[], Awaitable[Pace]]
"""One round of one contestant."""


class Stopwatch:
    """Measures a round from its creation on: time of day, and processor time."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def pace(self, jobs: int) -> Pace:
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return Pace(jobs / wall, 1e6 * processor / jobs)


async def interleaved(runs: Mapping[str, Run], rounds: int) -> dict[str, Paces]:
    """
    Run all contestants in turn, `rounds` times, after one round that does not count.

    In turn, because the machine's speed drifts: the runs of one round meet the same speed. Before each run garbage is
    collected and the objects that are alive (imported modules, above all) are frozen, so that no run pays for those of
    another.
    """
    measured: dict[str, list[Pace]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            gc.collect()
            gc.freeze()
            pace = await run()
            gc.unfreeze()
            if number:
                measured[name].append(pace)
    return {
        name: Paces(Spread.of([pace.rate for pace in paces]), Spread.of([pace.cost for pace in paces]))
        for name, paces in measured.items()
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(len(ordered) * percent / 100))]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
