"""The cost of put, claim and settle of the memory backend, below the client: by batch, by shape, and by depth."""

import gc
import time
from collections.abc import Awaitable
from typing import Any, NamedTuple

from benchmarks.backlog import (
    DEPTHS,
    KINDS,
    TASK,
    Backlog,
    Make,
    of_tenants,
    on_thousand_keys,
    unkeyed,
)
from benchmarks.measure import Spread, table
from fifoq.limits import GateSettings
from fifoq.queue import Declare
from fifoq_memory import MemoryBackend


class Shape(NamedTuple):
    """The jobs of a round, and the settings of their queue."""

    name: str
    make: Make
    settings: tuple[Declare, ...] = ()


_GATES = (
    Declare(None, GateSettings.of(limit=2_000, capacity=2_000_000)),
    Declare(TASK, GateSettings(limit=1_500, value_limit=20, capacity=2_000_000)),
)
SHAPES = (
    Shape("unkeyed", unkeyed),
    Shape("1,000 keys", on_thousand_keys),
    Shape("priorities, queue, task and 100 tenants' limits", of_tenants, _GATES),
)


async def costs(jobs: int, rounds: int) -> str:
    """Return the table of µs per job of each verb, by batch size and shape."""
    rows: list[list[str]] = []
    for shape in SHAPES:
        for batch in (1, 10, 100, 1_000):
            taken = [await _round(shape, batch, jobs) for _ in range(rounds + 1)][1:]
            spreads = [Spread.of(values) for values in zip(*taken, strict=True)]
            rows.append([shape.name, f"{batch:,}", *(spread.fine() for spread in spreads)])
    return table(["shape", "batch", "put µs", "claim µs", "settle µs"], rows)


async def depths(samples: int, most: int) -> str:
    """Return the table of µs per job of claim and settle, by the number of waiting jobs, for batches of 1 and 100."""
    rows: list[list[str]] = []
    for name, make in KINDS.items():
        for batch in (1, 100):
            by_depth = {depth: await _at_depth(make, depth, batch, samples) for depth in DEPTHS if depth <= most}
            first = by_depth[DEPTHS[0]].median
            cells = [by_depth[depth].fine() for depth in by_depth]
            ratio = max(spread.median for spread in by_depth.values()) / first
            rows.append([name, str(batch), *cells, f"{ratio:.2f}"])
            print(f"  waiting {name}, by {batch}: {ratio:.2f}", flush=True)
    shown = [f"{depth:,} µs" for depth in DEPTHS if depth <= most]
    return table(["waiting", "claimed by", *shown, "worst ratio"], rows)


async def _round(shape: Shape, batch: int, jobs: int) -> tuple[float, float, float]:
    gc.collect()
    backend, backlog = await _open(shape)
    put = claim = settle = 0.0
    for start in range(0, jobs, batch):
        specs = backlog.new_jobs(min(batch, jobs - start))
        put += (await _timed(backlog.put(specs)))[0]
    done = 0
    while done < jobs:
        taken, leases = await _timed(backlog.claim(batch))
        claim += taken
        settle += (await _timed(backlog.succeed(leases)))[0]
        done += len(leases)
    await backend.close()
    return put / jobs, claim / jobs, settle / jobs


async def _at_depth(make: Make, depth: int, batch: int, samples: int) -> Spread:
    """µs per job, in ten parts of `samples` jobs each; settled jobs are replaced, so that the depth stays."""
    backend, backlog = await _open(Shape("", make))
    await backlog.fill(depth)
    gc.collect()
    parts: list[float] = []
    for _ in range(11):
        taken, done = 0.0, 0
        while done < samples:
            cost, leases = await _timed(backlog.claim(batch))
            taken += cost + (await _timed(backlog.succeed(leases)))[0]
            done += len(leases)
            await backlog.put(backlog.new_jobs(len(leases)))
        parts.append(taken / done)
    await backend.close()
    return Spread.of(parts[1:])


async def _open(shape: Shape) -> tuple[MemoryBackend, Backlog]:
    backend = MemoryBackend("memory://")
    await backend.open()
    backlog = Backlog(backend.queue("q"), shape.make)
    await backlog.queue.configure(shape.settings)
    return backend, backlog


async def _timed(work: Awaitable[Any]) -> tuple[float, Any]:
    """
    Return the microseconds of processor time of the work, and its result.

    Not the time of day: these calls never wait, so it would differ only by other programs of the machine.
    """
    begin = time.thread_time_ns()
    result = await work
    return (time.thread_time_ns() - begin) / 1_000, result
