"""How long an idle worker takes to start a job: from the call that puts it to the first line of the task."""

import asyncio
import secrets
import time

from benchmarks.measure import percentile, table
from fifoq import Fifoq
from fifoq.queue import Call, Queue
from fifoq.record import JobSpec

PAUSE = 0.001


async def wake_ups(samples: int) -> str:
    """Return the table of latencies in microseconds, by where the job is put."""
    tasks = Fifoq("memory://wake-up")
    started: list[int] = []
    woken = asyncio.Event()

    @tasks.task(retain=0.0)
    async def noop() -> None:
        started.append(time.perf_counter_ns())
        woken.set()

    async with tasks, tasks.worker(concurrency=100):

        async def sample(put: object) -> list[float]:
            taken: list[float] = []
            for _ in range(samples):
                await asyncio.sleep(PAUSE)  # so that the worker has gone back to sleep
                woken.clear()
                begin = time.perf_counter_ns()
                await put()  # type: ignore[operator]
                await woken.wait()
                taken.append((started[-1] - begin) / 1_000)
            return taken

        rows: list[list[str]] = []
        for name, put in (("enqueue() called", noop.enqueue), ("Queue.put called", at_the_seam("noop"))):
            await sample(put)
            taken = await sample(put)
            rows.append([name, *(f"{percentile(taken, percent):.1f}" for percent in (50, 90, 99))])
    return table(["from", "p50 µs", "p90 µs", "p99 µs"], rows)


def at_the_seam(task: str) -> object:
    """Return a function that puts one job straight into the queue, past the client."""
    from fifoq_memory import MemoryBackend

    from fifoq.codec import EMPTY_CALL

    backend = MemoryBackend("memory://wake-up")
    caller, numbers = secrets.token_hex(16), iter(range(1, 10**9))
    queue: Queue | None = None

    async def put() -> None:
        nonlocal queue
        if queue is None:
            await backend.open()
            queue = backend.queue("default")
        number = next(numbers)
        await queue.put(Call(caller, number), [[JobSpec(f"{caller}-{number}", task, EMPTY_CALL)]])

    return put
