"""Outcomes that are hard to store: the same on each store, and other jobs' outcomes are written."""

import asyncio
import math

from fifoq import Context, Fifoq, RetryAfter
from fifoq.clock import MAX_SECONDS

WAITS = [math.inf, math.nan, 1e13, MAX_SECONDS + 1, 10**400, -1.0, -math.inf, 0.0, MAX_SECONDS]
ENDS = ["failed"] * 5 + ["succeeded"] * 3 + ["waiting"]


async def test_a_wait_that_no_store_can_hold_fails_its_job_and_no_other(url: str) -> None:
    tasks = Fifoq(url)

    @tasks.task(key="n")
    async def ask(ctx: Context, n: int) -> None:
        if ctx.attempt == 1:
            error = RetryAfter(0.0)
            error.seconds = WAITS[n]
            raise error

    @tasks.task(key="n")
    async def behind(n: int) -> int:
        return n

    async with tasks, tasks.worker(concurrency=2):
        jobs = [await ask.enqueue(n) for n in range(len(WAITS))]
        after = [await behind.enqueue(n) for n in range(len(WAITS) - 1)]
        assert await asyncio.gather(*(job.result(60) for job in after)) == list(range(len(WAITS) - 1))
        assert [(await job.status()).state.value for job in jobs] == ENDS
