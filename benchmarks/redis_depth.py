"""The cost of a claim and a settle on a Redis server, by the number of waiting jobs."""

from collections.abc import Sequence
from typing import Any

from benchmarks.backlog import DEPTHS, KINDS, Backlog, Make
from benchmarks.measure import Spread, table
from fifoq.backends import connect
from tests.servers import Server

ROUNDS = 15
BATCHES = (1, 100)
Costs = dict[tuple[int, int], list[float]]
"""The server's µs per job of each round, by depth and batch."""


async def depths(server: Server, most: int, samples: int) -> tuple[str, dict[str, float]]:
    """
    Return the table of the server's µs per job by depth, and the worst ratio of each kind of backlog.

    Each depth has its own queue. All of them take turns in a round, and each ratio compares costs of the same round,
    because the machine's speed drifts by more than the difference that the benchmark looks for.
    """
    rows: list[list[str]] = []
    worst: dict[str, float] = {}
    shown = [depth for depth in DEPTHS if depth <= most]
    for name, make in KINDS.items():
        costs = await _measure(server, make, shown, samples)
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


async def _measure(server: Server, make: Make, depths: Sequence[int], samples: int) -> Costs:
    server.flush()
    backend = connect(server.url)
    await backend.open()
    costs: Costs = {(depth, batch): [] for depth in depths for batch in BATCHES}
    try:
        backlogs = {depth: Backlog(backend.queue(f"q{depth}"), make) for depth in depths}
        for depth, backlog in backlogs.items():
            await backlog.fill(depth)
        for number in range(ROUNDS + 1):
            for (depth, batch), found in costs.items():
                cost = await _cost(server, backlogs[depth], batch, samples)
                if number:
                    found.append(cost)
    finally:
        await backend.close()
    return costs


async def _cost(server: Server, backlog: Backlog, batch: int, samples: int) -> float:
    """The server's µs per job of claim and settle, over at least `samples` jobs. Settled jobs are replaced."""
    taken, done = 0.0, 0
    while done < samples:
        before = _functions_cost(server)
        leases = await backlog.claim(batch)
        await backlog.succeed(leases)
        taken += _functions_cost(server) - before
        if not leases:
            raise RuntimeError("there was no job to claim")
        done += len(leases)
        await backlog.put(backlog.new_jobs(len(leases)))
    return taken / done


def _functions_cost(server: Server) -> float:
    """The µs that the server has spent in functions so far."""
    with server.client() as client:
        stats: Any = client.info("commandstats")
    return float(stats.get("cmdstat_fcall", {"usec": 0})["usec"])
