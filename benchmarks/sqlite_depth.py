"""
The cost of a claim of one job on SQLite with up to a million other jobs in the queue: behind a busy key, or a key each.

Below the client, with nothing but the claim timed. A shallow and a deep store take turns.
"""

import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.backlog import DEPTHS, TASK, Backlog, Make, a_key_each, on_one_key
from benchmarks.measure import Spread, table
from fifoq.codec import EMPTY_CALL
from fifoq.record import JobSpec
from fifoq_sqlite import SqliteBackend

SHALLOW = DEPTHS[0]
PARTS = 10


KINDS: dict[str, Make] = {"behind one busy key": on_one_key, "among so many keys": a_key_each}


async def depths(samples: int, most: int) -> str:
    """Return the table of both kinds of backlog at both depths, and the ratio of the deep one to the shallow one."""
    rows: list[list[str]] = []
    for name, make in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            async with _opened(path / "shallow.db", make) as shallow, _opened(path / "deep.db", make) as deep:
                await _fill(shallow, make, SHALLOW)
                await _fill(deep, make, most)
                rows.append(await _compare(name, (shallow, deep), samples))
    return table(["waiting", "at 1,000 µs", f"at {most:,} µs", "ratio", "CPU at 1,000", f"at {most:,}", "ratio"], rows)


@asynccontextmanager
async def _opened(path: Path, make: Make) -> AsyncGenerator[Backlog]:
    backend = SqliteBackend(f"sqlite:///{path}?synchronous=normal")
    await backend.open()
    try:
        yield Backlog(backend.queue("q"), make)
    finally:
        await backend.close()


async def _fill(backlog: Backlog, make: Make, jobs: int) -> None:
    await backlog.fill(jobs)
    if make is on_one_key:
        await backlog.claim(1)  # the first job of the key, which makes it busy
        await backlog.put([JobSpec("free", TASK, EMPTY_CALL)])


async def _sample(backlog: Backlog) -> tuple[float, float]:
    """Return the microseconds and the microseconds of processor time of one claim; the job is released again."""
    wall, processor = time.perf_counter(), time.process_time()
    (lease,) = await backlog.claim(1)
    taken = 1e6 * (time.perf_counter() - wall), 1e6 * (time.process_time() - processor)
    await backlog.release(lease)
    return taken


async def _compare(name: str, backlogs: tuple[Backlog, Backlog], samples: int) -> list[str]:
    walls: tuple[list[float], list[float]] = [], []
    processor: tuple[list[float], list[float]] = [], []
    for part in range(PARTS + 1):
        taken: tuple[list[tuple[float, float]], list[tuple[float, float]]] = [], []
        for _ in range(samples // PARTS):
            for backlog, its in zip(backlogs, taken, strict=True):
                its.append(await _sample(backlog))
        if part:
            for its, wall, cpu in zip(taken, walls, processor, strict=True):
                wall.append(statistics.median(one for one, _ in its))
                cpu.append(statistics.median(one for _, one in its))
    (few, many), (few_cpu, many_cpu) = map(Spread.of, walls), map(Spread.of, processor)
    ratio, by_cpu = many.median / few.median, many_cpu.median / few_cpu.median
    print(f"  {name}: {ratio:.2f}, by CPU {by_cpu:.2f}", flush=True)
    return [name, str(few), str(many), f"{ratio:.2f}", str(few_cpu), str(many_cpu), f"{by_cpu:.2f}"]
