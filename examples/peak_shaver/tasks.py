"""The work of the peak shaver: the gateway enqueues it, the service does it. Both import it from here."""

import asyncio

from fifoq import Fifoq, Limit

tasks = Fifoq()  # FIFOQ_URL, else memory://


@tasks.task(limit=Limit(4), capacity=64)
def is_prime(x: int) -> bool:
    """Blocking work: runs in a thread of a worker. Four at a time, over all services."""
    return x > 1 and all(x % divisor for divisor in range(2, int(x**0.5) + 1))


@tasks.task(limit=Limit(32), capacity=320)
async def fibonacci(n: int) -> int:
    """Work that waits often: runs on a worker's event loop."""
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
        await asyncio.sleep(0)
    return a
