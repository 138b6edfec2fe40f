"""The promise of a worker, on a small scale: no key out of order, whatever fails, is tried again or crashes."""

import asyncio
import random
import time
from typing import Any

from fifoq.calls import Caller
from fifoq.record import State
from fifoq.retry import Retry
from fifoq.task.context import Context

JOBS, KEYS = 2_000, 40


async def test_keys_stay_in_order_without_overlap_through_failures_and_retries(shop: Any) -> None:
    chance = random.Random(7)
    running: set[int] = set()
    done: dict[int, list[int]] = {key: [] for key in range(KEYS)}
    tries = 0

    async def move(ctx: Context, key: int, n: int) -> None:
        nonlocal tries
        tries += 1
        assert key not in running
        running.add(key)
        try:
            await asyncio.sleep(chance.choice([0, 0, 0.001]))
            if chance.random() < 0.2:
                raise ValueError
            done[key].append(n)
        finally:
            running.discard(key)

    task = shop.task(move, retry=Retry(1_000, backoff=0.001))
    await shop.put_all([shop.spec(task, n % KEYS, n, key=str(n % KEYS)) for n in range(JOBS)])
    await asyncio.gather(*(shop.worker(concurrency=30).drain() for _ in range(2)))
    assert await shop.states() == {State.SUCCEEDED: JOBS}
    assert done == {key: list(range(key, JOBS, KEYS)) for key in range(KEYS)}
    assert tries > JOBS
    assert (await shop.backend.queue("default").audit()).differences == ()


async def test_a_hot_key_is_handed_from_job_to_job_without_waiting_for_a_clock(shop: Any) -> None:
    async def quick() -> None: ...

    task = shop.task(quick)
    await shop.put_all([shop.spec(task, key="one") for _ in range(500)])
    start = time.monotonic()
    await shop.worker().drain()
    # If one job in ten waited for the next poll, 0.75 s later, this would take over 30 s.
    assert time.monotonic() - start < 10.0


async def test_a_crashed_job_runs_again_at_its_place(shop: Any) -> None:
    order = []

    async def note(ctx: Context, n: int) -> None:
        order.append((n, ctx.job.crashes))

    task = shop.task(note)
    for n in range(3):
        await shop.put(task, n, key="k")
    queue = shop.backend.queue("default")
    await Caller().attempt(lambda call: queue.claim(call, "dead", 1, 50_000, ["note"]))
    await shop.worker().drain()
    assert order == [(0, 1), (1, 0), (2, 0)]
