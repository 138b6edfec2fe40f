"""Processes on one file: the time from an enqueue in one to the start in another, and the cost of an idle worker."""

import asyncio
import multiprocessing
import random
import resource
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.measure import percentile, table
from fifoq import Fifoq

_fresh = multiprocessing.get_context("spawn")


async def wake_ups(samples: int) -> str:
    """Return the table of latencies in milliseconds, at both levels."""
    rows: list[list[str]] = []
    for level in ("full", "normal"):
        with tempfile.TemporaryDirectory() as folder:
            taken = await _wake_ups(f"sqlite:///{Path(folder) / 'jobs.db'}?synchronous={level}", samples)
        cells = [f"{percentile(taken, percent):.2f}" for percent in (50, 90, 99)]
        rows.append([level.upper(), *cells, "met" if percentile(taken, 50) <= 5 else "MISSED"])
    return table(["synchronous", "p50 ms", "p90 ms", "p99 ms", ""], rows)


async def _wake_ups(url: str, samples: int) -> list[float]:
    tasks = Fifoq(url)
    taken: list[float] = []
    all_started = asyncio.Event()

    @tasks.task(retain=0.0)
    async def start(sent: int) -> None:
        taken.append((time.monotonic_ns() - sent) / 1e6)  # one clock for all processes
        if len(taken) == samples:
            all_started.set()

    async with tasks, tasks.worker():
        producer = _fresh.Process(target=_produce, args=(url, samples))
        producer.start()
        await all_started.wait()
        await asyncio.to_thread(producer.join)
    return taken


def _produce(url: str, samples: int) -> None:
    asyncio.run(_enqueue(url, samples))


async def _enqueue(url: str, samples: int) -> None:
    tasks = Fifoq(url)

    @tasks.task(retain=0.0)
    async def start(sent: int) -> None: ...

    async with tasks:
        for _ in range(samples):
            # Long enough for the worker to be idle, and random, so that no two loops run in step.
            await asyncio.sleep(random.uniform(0.005, 0.015))
            await start.enqueue(time.monotonic_ns())


async def idle(seconds: float) -> str:
    """Return the share of a core that a worker without jobs takes."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = _fresh.Pipe()
        worker = _fresh.Process(target=_idle, args=(f"sqlite:///{Path(folder) / 'jobs.db'}", seconds, theirs))
        worker.start()
        share: float = await asyncio.to_thread(ours.recv)
        worker.join()
    return table(["for", "of a core", ""], [[f"{seconds:g} s", f"{share:.2%}", "met" if share <= 0.01 else "MISSED"]])


def _idle(url: str, seconds: float, answer: Connection) -> None:
    answer.send(asyncio.run(_idle_share(url, seconds)))


async def _idle_share(url: str, seconds: float) -> float:
    tasks = Fifoq(url)

    @tasks.task(retain=0.0)
    async def noop() -> None: ...

    async with tasks, tasks.worker():
        await noop.enqueue()
        await asyncio.sleep(1.0)
        before, begin = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        await asyncio.sleep(seconds)
        after, end = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used / (end - begin)
