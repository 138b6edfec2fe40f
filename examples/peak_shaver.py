"""
The peak shaver: a gateway whose requests wait for their results, and that stays upright when too many come.

Each task runs so many jobs at a time and lets so many wait; beyond that the gateway answers 503 at once. In front, a
token bucket sheds floods with 429. Ctrl-C lets the requests that were accepted finish. Here the work is done in the
gateway's own process.

    FIFOQ_URL=memory:// uvicorn examples.peak_shaver:app
    curl localhost:8000/prime/2147483647
    curl localhost:8000/fibonacci/90
    curl localhost:8000/load
"""

import asyncio
from typing import Annotated

from fastapi import Depends, FastAPI, Path

from fifoq import Fifoq, Limit
from fifoq_fastapi import RateLimit, install_errors, lifespan

tasks = Fifoq()
app = FastAPI(
    title="Peak shaver",
    lifespan=lifespan(tasks, worker=True),
    dependencies=[Depends(RateLimit(burst=5000, per_second=1000))],
)
install_errors(app)  # a full queue: 503 with Retry-After; a result that takes too long: 504


@tasks.task(limit=Limit(4), capacity=64)
def is_prime(x: int) -> bool:
    """Blocking work: runs in a thread of the worker."""
    return x > 1 and all(x % divisor for divisor in range(2, int(x**0.5) + 1))


@tasks.task(limit=Limit(32), capacity=320)
async def fibonacci(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
        await asyncio.sleep(0)
    return a


@app.get("/prime/{x}")
async def prime(x: Annotated[int, Path(ge=0, lt=2**40)]) -> dict[str, bool]:
    return {"prime": await is_prime.options(wait=30).call(x)}


@app.get("/fibonacci/{n}")
async def nth_fibonacci(n: Annotated[int, Path(ge=0, le=1000)]) -> dict[str, int]:
    return {"fibonacci": await fibonacci.options(wait=30).call(n)}


@app.get("/load")
async def load() -> dict[str, int]:
    stats = (await tasks.stats())["default"]
    return {"waiting": stats.waiting, "running": stats.running, "done": stats.succeeded}
