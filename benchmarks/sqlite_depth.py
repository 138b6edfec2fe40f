"""
What a claim of one job costs on SQLite with up to a million others in the queue: behind one busy key, or a key each.

At the seam, where nothing but the claim is timed. A shallow and a deep store take turns.
"""

import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from benchmarks.measure import Spread, table
from fifoq.clock import SECOND
from fifoq.codec import EMPTY_CALL
from fifoq.queue import Call, Queue
from fifoq.record import JobSpec, Lease, Release, Settlement
from fifoq_sqlite import SqliteBackend

SHALLOW = 1_000
TASK = "t"
PARTS = 10

Make = Callable[[int], JobSpec]


def behind_a_busy_key(number: int) -> JobSpec:
    """The first is the head of the busy key; the last, without a key, is the one to claim."""
    return JobSpec(f"j{number}", TASK, EMPTY_CALL, key="busy")


def a_key_each(number: int) -> JobSpec:
    return JobSpec(f"j{number}", TASK, EMPTY_CALL, key=f"k{number}")


LINES: dict[str, Make] = {"behind one busy key": behind_a_busy_key, "among so many keys": a_key_each}


class Line:
    """A queue with so many jobs, of which one is claimed and given back, again and again."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._caller = secrets.token_hex(16)
        self._numbers = count(1)

    async def fill(self, make: Make, jobs: int) -> None:
        for start in range(0, jobs, 1_000):
            await self._queue.put(self._call(), [[make(number) for number in range(start, min(start + 1_000, jobs))]])
        if make is behind_a_busy_key:
            await self._claim()
            await self._queue.put(self._call(), [[JobSpec("free", TASK, EMPTY_CALL)]])

    async def sample(self) -> tuple[float, float]:
        """Return the microseconds and the microseconds of processor time of one claim."""
        wall, processor = time.perf_counter(), time.process_time()
        (lease,) = await self._claim()
        taken = 1e6 * (time.perf_counter() - wall), 1e6 * (time.process_time() - processor)
        await self._queue.settle(self._call(), [Settlement(lease.spec.id, lease.token, Release(0, 0))])
        return taken

    async def _claim(self) -> Sequence[Lease]:
        return (await self._queue.claim(self._call(), "w", 1, 3_600 * SECOND, [TASK])).leases

    def _call(self) -> Call:
        return Call(self._caller, next(self._numbers))


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[Line]:
    backend = SqliteBackend(f"sqlite:///{path}?synchronous=normal")
    await backend.open()
    try:
        yield Line(backend.queue("q"))
    finally:
        await backend.close()


async def depths(samples: int, most: int) -> str:
    """Return the table of both lines at both depths, and how the deep one compares."""
    rows: list[list[str]] = []
    for name, make in LINES.items():
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder) / "shallow.db") as shallow, opened(Path(folder) / "deep.db") as deep:
                rows.append(await _compare(name, make, (shallow, deep), samples, most))
    return table(["waiting", "at 1,000 µs", f"at {most:,} µs", "ratio", "CPU at 1,000", f"at {most:,}", "ratio"], rows)


async def _compare(name: str, make: Make, lines: tuple[Line, Line], samples: int, most: int) -> list[str]:
    for line, jobs in zip(lines, (SHALLOW, most), strict=True):
        await line.fill(make, jobs)
    walls: tuple[list[float], list[float]] = [], []
    processor: tuple[list[float], list[float]] = [], []
    for part in range(PARTS + 1):
        taken: tuple[list[tuple[float, float]], list[tuple[float, float]]] = [], []
        for _ in range(samples // PARTS):
            for line, its in zip(lines, taken, strict=True):
                its.append(await line.sample())
        if part:
            for its, wall, cpu in zip(taken, walls, processor, strict=True):
                wall.append(statistics.median(one for one, _ in its))
                cpu.append(statistics.median(one for _, one in its))
    (few, many), (few_cpu, many_cpu) = map(Spread.of, walls), map(Spread.of, processor)
    ratio, by_cpu = many.median / few.median, many_cpu.median / few_cpu.median
    print(f"  {name}: {ratio:.2f}, by CPU {by_cpu:.2f}", flush=True)
    return [name, str(few), str(many), f"{ratio:.2f}", str(few_cpu), str(many_cpu), f"{by_cpu:.2f}"]
