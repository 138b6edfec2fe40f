"""What put, claim and settle of the memory backend cost by themselves: by batch, by shape, and by depth."""

import asyncio
import gc
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

from benchmarks.measure import Spread, table
from fifoq.clock import SECOND
from fifoq.limits import GateSettings
from fifoq.queue import Call, Declare, Queue
from fifoq.record import JobSpec, Lease, Settlement, Succeed
from fifoq_memory import MemoryBackend

TASK = "t"
TASKS = [TASK]
PAYLOAD = b"\x92\x90\x80" + bytes(60)


class Driver:
    """One caller of each verb of one queue."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._caller = secrets.token_hex(16)
        self._numbers = count(1)

    def call(self) -> Call:
        return Call(self._caller, next(self._numbers))

    async def put(self, specs: Sequence[JobSpec]) -> None:
        await self.queue.put(self.call(), [specs])

    async def claim(self, n: int) -> tuple[Lease, ...]:
        return (await self.queue.claim(self.call(), "w", n, 60 * SECOND, TASKS)).leases

    async def settle(self, leases: Sequence[Lease]) -> None:
        outcome = Succeed(b"\xc0", 0)
        await self.queue.settle(self.call(), [Settlement(one.spec.id, one.token, outcome) for one in leases])


Make = Callable[[int], JobSpec]
"""Makes the n-th job."""


def one_key(number: int) -> JobSpec:
    return JobSpec(f"j{number}", TASK, PAYLOAD, key="hot")


def key_each(number: int) -> JobSpec:
    return JobSpec(f"j{number}", TASK, PAYLOAD, key=f"k{number}")


def unkeyed(number: int) -> JobSpec:
    return JobSpec(f"j{number}", TASK, PAYLOAD)


def thousand_keys(number: int) -> JobSpec:
    return JobSpec(f"j{number}", TASK, PAYLOAD, key=f"k{number % 1_000}")


def gated(number: int) -> JobSpec:
    return JobSpec(f"j{number}", TASK, PAYLOAD, value=f"tenant-{number % 100}", priority=number % 19 - 9)


class Shape(NamedTuple):
    name: str
    make: Make
    settings: tuple[Declare, ...] = ()


GATES = (
    Declare(None, GateSettings.of(limit=2_000, capacity=2_000_000)),
    Declare(TASK, GateSettings(limit=1_500, value_limit=20, capacity=2_000_000)),
)
SHAPES = (
    Shape("unkeyed", unkeyed),
    Shape("1,000 keys", thousand_keys),
    Shape("priorities, queue, task and 100 tenants' limits", gated, GATES),
)


async def opened(shape: Shape) -> tuple[MemoryBackend, Driver]:
    backend = MemoryBackend("memory://")
    await backend.open()
    driver = Driver(backend.queue("q"))
    await driver.queue.configure(shape.settings)
    return backend, driver


async def timed(work: Awaitable[Any]) -> tuple[float, Any]:
    """
    Return the microseconds of processor time that it took, and its result.

    These calls never wait for anything: what else the machine does would be the only difference to the time of day.
    """
    begin = time.thread_time_ns()
    result = await work
    return (time.thread_time_ns() - begin) / 1_000, result


def chunks(make: Make, jobs: int, size: int, first: int = 0) -> Iterator[list[JobSpec]]:
    for start in range(first, first + jobs, size):
        yield [make(number) for number in range(start, min(start + size, first + jobs))]


async def costs(jobs: int, rounds: int) -> str:
    """Return the table of µs per job of each verb, by batch size and shape."""
    rows: list[list[str]] = []
    for shape in SHAPES:
        for batch in (1, 10, 100, 1_000):
            taken = [await _round(shape, batch, jobs) for _ in range(rounds + 1)][1:]
            spreads = [Spread.of(values) for values in zip(*taken, strict=True)]
            rows.append([shape.name, f"{batch:,}", *(spread.fine() for spread in spreads)])
    return table(["shape", "batch", "put µs", "claim µs", "settle µs"], rows)


async def _round(shape: Shape, batch: int, jobs: int) -> tuple[float, float, float]:
    gc.collect()
    backend, driver = await opened(shape)
    put = claim = settle = 0.0
    for specs in chunks(shape.make, jobs, batch):
        put += (await timed(driver.put(specs)))[0]
    done = 0
    while done < jobs:
        taken, leases = await timed(driver.claim(batch))
        claim += taken
        settle += (await timed(driver.settle(leases)))[0]
        done += len(leases)
    await backend.close()
    return put / jobs, claim / jobs, settle / jobs


DEPTHS = (1_000, 10_000, 100_000, 1_000_000)
LINES = {"on one key": one_key, "a key each": key_each, "unkeyed": unkeyed}


async def depths(samples: int, most: int) -> str:
    """Return the table of µs per job of claim and settle with so many waiting, one at a time and by hundreds."""
    rows: list[list[str]] = []
    for name, make in LINES.items():
        for batch in (1, 100):
            by_depth = {depth: await _at_depth(make, depth, batch, samples) for depth in DEPTHS if depth <= most}
            first = by_depth[DEPTHS[0]].median
            cells = [by_depth[depth].fine() for depth in by_depth]
            ratio = max(spread.median for spread in by_depth.values()) / first
            rows.append([name, str(batch), *cells, f"{ratio:.2f}"])
            print(f"  waiting {name}, by {batch}: {ratio:.2f}", flush=True)
    shown = [f"{depth:,} µs" for depth in DEPTHS if depth <= most]
    return table(["waiting", "claimed by", *shown, "worst ratio"], rows)


async def _at_depth(make: Make, depth: int, batch: int, samples: int) -> Spread:
    """µs per job, in ten parts of `samples` jobs each; what was settled is put again, so that the depth stays."""
    backend, driver = await opened(Shape("", make))
    for specs in chunks(make, depth, 1_000):
        await driver.put(specs)
    gc.collect()
    parts: list[float] = []
    fresh = depth
    for _ in range(11):
        taken, done = 0.0, 0
        while done < samples:
            cost, leases = await timed(driver.claim(batch))
            taken += cost + (await timed(driver.settle(leases)))[0]
            done += len(leases)
            await driver.put([make(fresh + number) for number in range(len(leases))])
            fresh += len(leases)
        parts.append(taken / done)
    await backend.close()
    return Spread.of(parts[1:])


if __name__ == "__main__":
    print(asyncio.run(costs(20_000, 3)))
