"""What a claim and a settle cost a Redis server with ever more jobs waiting."""

from collections.abc import Iterator
from typing import Any

from benchmarks.measure import Spread, table
from benchmarks.seam import DEPTHS, LINES, Driver, Make, chunks
from fifoq.connect import connect
from tests.servers import Server

ROUNDS = 10


async def depths(server: Server, most: int, samples: int) -> tuple[str, dict[str, float]]:
    """
    Return the table of the server's µs per job by depth, and the worst ratio of each line.

    The ratios are those of the best parts: what a busy machine does to a server only ever adds.
    """
    rows: list[list[str]] = []
    worst: dict[str, float] = {}
    shown = [depth for depth in DEPTHS if depth <= most]
    for name, make in LINES.items():
        cells = {
            (depth, batch): cost
            for depth in shown
            for batch, cost in (await at_depth(server, make, depth, samples)).items()
        }
        for batch in (1, 100):
            row = [cells[depth, batch] for depth in shown]
            ratio = worst[f"{name}, by {batch}"] = max(one.low for one in row) / row[0].low
            rows.append([name, str(batch), *(one.fine() for one in row), f"{ratio:.2f}"])
            print(f"  waiting {name}, by {batch}: {ratio:.2f}", flush=True)
    return table(["waiting", "claimed by", *(f"{depth:,} µs" for depth in shown), "worst ratio"], rows), worst


async def at_depth(server: Server, make: Make, depth: int, samples: int) -> dict[int, Spread]:
    """The server's µs per job by batch. What was settled is put again, so that the depth stays."""
    server.flush()
    backend = connect(server.url)
    await backend.open()
    try:
        driver = Driver(backend.queue("q"))
        for specs in chunks(make, depth, 1_000):
            await driver.put(specs)
        fresh = iter(range(depth, 10**9))
        return {batch: await _measure(server, driver, make, fresh, batch, samples) for batch in (1, 100)}
    finally:
        await backend.close()


async def _measure(
    server: Server, driver: Driver, make: Make, fresh: Iterator[int], batch: int, samples: int
) -> Spread:
    parts: list[float] = []
    for _ in range(ROUNDS + 1):
        taken, done = 0.0, 0
        while done < samples:
            before = scripts_cost(server)
            leases = await driver.claim(batch)
            await driver.settle(leases)
            taken += scripts_cost(server) - before
            done += len(leases)
            await driver.put([make(next(fresh)) for _ in leases])
            if not leases:
                raise RuntimeError("nothing was there to claim")
        parts.append(taken / done)
    return Spread.of(parts[1:])


def scripts_cost(server: Server) -> float:
    """The µs that the server has spent in scripts so far."""
    with server.client() as client:
        told: Any = client.info("commandstats")
    return sum(
        one["usec"] for name, one in told.items() if name in ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall")
    )
