"""The time that an idle worker takes to start a job: from the call that puts it to the first line of the task."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

from benchmarks.measure import percentile, table
from fifoq import Fifoq
from fifoq.codec import EMPTY_CALL
from fifoq.queue import Call
from fifoq.record import JobSpec
from fifoq_memory import MemoryBackend

Put = Callable[[], Awaitable[object]]
Pause = Callable[[], Awaitable[object]]


async def some_turns() -> None:
    """Long enough for the worker to be idle; the processor stays warm."""
    for _ in range(20):
        await asyncio.sleep(0)


async def a_millisecond() -> None:
    """The processor rests too: it has to fetch the next instructions and data into its caches again."""
    await asyncio.sleep(0.001)


async def wake_ups(samples: int) -> str:
    """Return the table of latencies in microseconds, by the function that puts the job, and by the pause before."""
    tasks = Fifoq("memory://wake-up")
    started: list[int] = []
    woken = asyncio.Event()

    @tasks.task(retain=0.0)
    async def noop() -> None:
        started.append(time.perf_counter_ns())
        woken.set()

    async def sample(put: Put, pause: Pause) -> list[float]:
        taken: list[float] = []
        for _ in range(samples):
            await pause()
            woken.clear()
            begin = time.perf_counter_ns()
            await put()
            await woken.wait()
            taken.append((started[-1] - begin) / 1_000)
        return taken

    rows: list[list[str]] = []
    async with tasks, tasks.worker(concurrency=100):
        for name, put in (("enqueue() called", noop.enqueue), ("Queue.put called", put_below_the_client("noop"))):
            for before, pause in (("some turns of the loop", some_turns), ("1 ms of sleep", a_millisecond)):
                await sample(put, pause)
                taken = await sample(put, pause)
                rows.append([name, before, *(f"{percentile(taken, percent):.1f}" for percent in (50, 90, 99))])
    return table(["from", "after", "p50 µs", "p90 µs", "p99 µs"], rows)


def put_below_the_client(task: str) -> Put:
    """Return a function that puts one job directly into the queue of the backend."""
    backend = MemoryBackend("memory://wake-up")
    caller, numbers = secrets.token_hex(16), iter(range(1, 10**9))
    queue = backend.queue("default")

    async def put() -> None:
        number = next(numbers)
        await queue.put(Call(caller, number), [[JobSpec(f"{caller}-{number}", task, EMPTY_CALL)]])

    return put
