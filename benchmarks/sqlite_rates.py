"""How fast jobs are enqueued and drained on SQLite: fifoq against the others, round by round in turn."""

import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.end_to_end import Tally
from benchmarks.measure import Pace, Paces, Run, Watch, interleaved, table
from benchmarks.sqlite_sides import FLIGHT, Open, Side, fifoq_side, floor_side, huey_side, persist_side

LEVELS = ("full", "normal")
OURS = "fifoq"


class Race(NamedTuple):
    """Who runs, what a round of one is, and by how much fifoq is to be ahead of the first other."""

    sides: Mapping[str, Open]
    round: Callable[[Side, int], Awaitable[Pace]]
    bars: Mapping[str, tuple[float, float]]
    """The least ratio and the one aimed at, by `synchronous`."""


async def enqueue_one_by_one(side: Side, jobs: int) -> Pace:
    watch = Watch()
    for _ in range(jobs):
        await side.one()
    return watch.pace(jobs)


async def enqueue_in_flights(side: Side, jobs: int) -> Pace:
    watch = Watch()
    for _ in range(jobs // FLIGHT):
        await side.flight()
    return watch.pace(jobs // FLIGHT * FLIGHT)


async def drain(side: Side, jobs: int) -> Pace:
    """From the first job's start to the last's, so that nobody's start-up counts."""
    await enqueue_in_flights(side, jobs)
    tally = Timed()
    tally.expect(jobs // FLIGHT * FLIGHT)
    await side.run(tally)
    return tally.pace()


class Timed(Tally):
    """Takes the time from its first count to its last."""

    def __init__(self) -> None:
        super().__init__()
        self._watch: Watch | None = None
        self._pace: Pace | None = None
        self._jobs = 0

    def count(self) -> None:
        if self._watch is None:
            self._jobs = self.left - 1
            self._watch = Watch()
        elif self.left == 1:
            self._pace = self._watch.pace(self._jobs)
        super().count()

    def pace(self) -> Pace:
        assert self._pace is not None, "not all ran"
        return self._pace


ONE_BY_ONE = Race(
    {
        OURS: fifoq_side,
        "persist-queue": persist_side,
        "persist-queue, its own journal": partial(persist_side, journal="DELETE"),
        "huey": huey_side,
        "floor": floor_side,
    },
    enqueue_one_by_one,
    {"full": (1.4, 1.4), "normal": (1.4, 1.8)},
)
IN_FLIGHT = Race({OURS: fifoq_side, "huey": huey_side}, enqueue_in_flights, {"full": (5, 5), "normal": (1.2, 1.2)})
DRAIN = Race({OURS: fifoq_side, "huey": huey_side}, drain, {"full": (4, 6), "normal": (1.5, 2)})


async def compare(race: Race, jobs: int, rounds: int) -> str:
    """Return the table of one race, at both levels."""
    rows: list[list[str]] = []
    for level in LEVELS:
        with tempfile.TemporaryDirectory() as folder:
            async with AsyncExitStack() as stack:
                sides = {
                    name: await stack.enter_async_context(open(Path(folder), level))
                    for name, open in race.sides.items()
                }
                runs = {name: _run(race, side, jobs) for name, side in sides.items()}
                rows += _rows(race, level, await interleaved(runs, rounds))
    return table(["synchronous", "side", "jobs/s", "CPU µs", "fifoq is", "by CPU", "bar", ""], rows)


def _run(race: Race, side: Side, jobs: int) -> Run:
    return lambda: race.round(side, jobs)


def _rows(race: Race, level: str, paces: Mapping[str, Paces]) -> Sequence[list[str]]:
    ours = paces[OURS]
    rows = [[level.upper(), OURS, str(ours.rate), f"{ours.cost.median:.1f}", "", "", "", ""]]
    must, aim = race.bars[level]
    for place, (name, theirs) in enumerate(list(paces.items())[1:]):
        ratio = ours.rate.median / theirs.rate.median
        by_cost = theirs.cost.median / ours.cost.median
        # The bar is against the first of them; the others are there to compare.
        bar = "" if place else f"{must:g}" + (f", aim {aim:g}" if aim > must else "")
        met = "" if place else "met" if ratio >= must else "MISSED"
        rows.append(
            [level.upper(), name, str(theirs.rate), f"{theirs.cost.median:.1f}", f"{ratio:.2f} ×", f"{by_cost:.2f} ×",
             bar, met]
        )  # fmt: skip
        print(f"  {level}: {ratio:.2f} × {name}, by CPU {by_cost:.2f} × {met}", flush=True)
    return rows
