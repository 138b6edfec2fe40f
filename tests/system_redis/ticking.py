"""How late the tests' own loop is: what a busy machine adds to every delay that is measured."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


@asynccontextmanager
async def ticking() -> AsyncGenerator[list[float]]:
    """Yield a list that grows by the seconds by which each timer of 10 ms was late."""
    late: list[float] = [0.0]

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            late.append(time.monotonic() - before - 0.01)

    task = asyncio.create_task(tick())
    try:
        yield late
    finally:
        task.cancel()
