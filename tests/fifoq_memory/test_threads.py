"""Several threads, each with a loop of its own, on one store at once."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import pytest

from fifoq.limits import GateSettings
from fifoq.queue import Call, Declare
from fifoq.record import Extension, Release, Settlement, Succeed
from fifoq.testing import spec
from fifoq_memory import MemoryBackend
from fifoq_memory.queue import MemoryQueue

LEASE = 60_000_000
THREADS, JOBS = 4, 400


def run_in_threads(work: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """Run the work in several threads at once; raise what any of them raised."""
    start, failures = threading.Barrier(THREADS), list[BaseException]()

    def run(number: int) -> None:
        try:
            start.wait()
            asyncio.run(work(number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryBackend(f"memory://{uuid4().hex}").queue("queue")


def test_every_job_of_every_thread_runs_once_in_the_order_of_its_key(queue: MemoryQueue) -> None:
    done = list[tuple[str, int]]()
    asyncio.run(queue.configure([Declare("task", GateSettings(limit=3))]))

    async def put_and_work(thread: int) -> None:
        caller = uuid4().hex
        for number in range(1, JOBS + 1):
            await queue.put(Call(caller, number), [[spec(f"key-{thread}", id=f"{thread}-{number}")]])
            claimed = await queue.claim(Call(caller, number), "worker", 2, LEASE, ["task"])
            assert (await queue.stats()).running <= 3
            extensions = [Extension(lease.spec.id, lease.token, LEASE) for lease in claimed.leases]
            await queue.extend(extensions)
            done.extend((lease.spec.key or "", lease.seq) for lease in claimed.leases)
            settlements = [Settlement(lease.spec.id, lease.token, Succeed(b"", 0)) for lease in claimed.leases]
            await queue.settle(Call(caller, number), settlements)

    run_in_threads(put_and_work)
    asyncio.run(finish(queue, done))
    for thread in range(THREADS):
        seqs = [seq for key, seq in done if key == f"key-{thread}"]
        assert len(seqs) == JOBS
        assert seqs == sorted(seqs)


async def finish(queue: MemoryQueue, done: list[tuple[str, int]]) -> None:
    """Work what is left, one after another."""
    for number in range(THREADS * JOBS):
        claimed = await queue.claim(Call("finish", number), "worker", 1, LEASE, ["task"])
        for lease in claimed.leases:
            done.append((lease.spec.key or "", lease.seq))
            await queue.settle(Call("finish", number), [Settlement(lease.spec.id, lease.token, Succeed(b"", 0))])
    assert (await queue.audit()).differences == ()
    stats = await queue.stats()
    assert (stats.accepted, stats.purged) == (THREADS * JOBS, THREADS * JOBS)


def test_a_limit_of_one_is_never_two(queue: MemoryQueue) -> None:
    asyncio.run(queue.configure([Declare(None, GateSettings(limit=1))]))
    asyncio.run(queue.put(Call("put", 1), [[spec(id=f"{number}") for number in range(20)]]))
    holders = Counter[str]()

    async def claim_and_release(thread: int) -> None:
        caller = uuid4().hex
        for number in range(JOBS):
            for lease in (await queue.claim(Call(caller, number), "worker", 5, LEASE, ["task"])).leases:
                holders["now"] += 1
                holders["most"] = max(holders["most"], holders["now"])
                holders["now"] -= 1
                await queue.settle(Call(caller, number), [Settlement(lease.spec.id, lease.token, Release(0, 0))])

    run_in_threads(claim_and_release)
    assert holders["most"] == 1
    assert asyncio.run(queue.audit()).differences == ()
