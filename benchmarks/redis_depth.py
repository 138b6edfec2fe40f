"""What a claim and a settle cost a Redis server with ever more jobs waiting."""

from collections.abc import Sequence
from typing import Any

from benchmarks.measure import Spread, table
from benchmarks.seam import DEPTHS, LINES, Driver, Make, chunks
from fifoq.backends import connect
from tests.servers import Server

ROUNDS = 15
BATCHES = (1, 100)
Costs = dict[tuple[int, int], list[float]]
"""The server's µs per job, by depth and batch, round by round."""


async def depths(server: Server, most: int, samples: int) -> tuple[str, dict[str, float]]:
    """
    Return the table of the server's µs per job by depth, and the worst ratio of each line.

    All depths have their turn in a round, each in a queue of its own, and ratios are of what shared a round: the
    machine's speed drifts by more than what is looked for.
    """
    rows: list[list[str]] = []
    worst: dict[str, float] = {}
    shown = [depth for depth in DEPTHS if depth <= most]
    for name, make in LINES.items():
        costs = await _measure_line(server, make, shown, samples)
        for batch in BATCHES:
            first = costs[shown[0], batch]
            ratios = [
                Spread.of([deep / flat for deep, flat in zip(costs[depth, batch], first, strict=True)]).median
                for depth in shown
            ]
            worst[f"{name}, by {batch}"] = max(ratios)
            cells = [Spread.of(costs[depth, batch]).fine() for depth in shown]
            rows.append([name, str(batch), *cells, f"{max(ratios):.2f}"])
            print(f"  waiting {name}, by {batch}: {max(ratios):.2f}", flush=True)
    return table(["waiting", "claimed by", *(f"{depth:,} µs" for depth in shown), "worst ratio"], rows), worst


async def _measure_line(server: Server, make: Make, depths: Sequence[int], samples: int) -> Costs:
    """What was settled is put again, so that the depths stay."""
    server.flush()
    backend = connect(server.url)
    await backend.open()
    costs: Costs = {(depth, batch): [] for depth in depths for batch in BATCHES}
    try:
        lines = {depth: Line(Driver(backend.queue(f"q{depth}")), make) for depth in depths}
        for depth, line in lines.items():
            await line.fill(depth)
        for number in range(ROUNDS + 1):
            for (depth, batch), found in costs.items():
                cost = await lines[depth].cost(server, batch, samples)
                if number:
                    found.append(cost)
    finally:
        await backend.close()
    return costs


class Line:
    """One queue with so many jobs waiting."""

    def __init__(self, driver: Driver, make: Make) -> None:
        self._driver = driver
        self._make = make
        self._next = 0

    async def fill(self, depth: int) -> None:
        for specs in chunks(self._make, depth, 1_000):
            await self._driver.put(specs)
        self._next = depth

    async def cost(self, server: Server, batch: int, samples: int) -> float:
        """The server's µs per job for claim and settle, over so many jobs or a few more."""
        taken, done = 0.0, 0
        while done < samples:
            before = functions_cost(server)
            leases = await self._driver.claim(batch)
            await self._driver.settle(leases)
            taken += functions_cost(server) - before
            if not leases:
                raise RuntimeError("nothing was there to claim")
            done += len(leases)
            await self._driver.put([self._make(self._next + number) for number in range(len(leases))])
            self._next += len(leases)
        return taken / done


def functions_cost(server: Server) -> float:
    """The µs that the server has spent in functions so far."""
    with server.client() as client:
        told: Any = client.info("commandstats")
    return float(told.get("cmdstat_fcall", {"usec": 0})["usec"])
