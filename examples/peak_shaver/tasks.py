"""The tasks of the peak shaver. The gateway enqueues them and the service runs them; both import this module."""

import asyncio

from fifoq import Fifoq, Limit

tasks = Fifoq()  # opens FIFOQ_URL, or memory:// if that is not set


@tasks.task(limit=Limit(4), capacity=64)
def is_prime(x: int) -> bool:
    """Blocking work, which runs in a thread of a worker: four jobs at a time, over all services."""
    return x > 1 and all(x % divisor for divisor in range(2, int(x**0.5) + 1))


@tasks.task(limit=Limit(32), capacity=320)
async def fibonacci(n: int) -> int:
    """Work that awaits often, which runs on the event loop of a worker."""
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
        await asyncio.sleep(0)
    return a
