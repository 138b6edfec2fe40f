"""
The peak shaver: a gateway whose requests wait for their results, and that stays upright when too many come.

The gateway only queues; services do the work, each a process of its own. A task runs so many jobs at a time, over all
services, and lets so many wait; beyond that the gateway answers 503 at once. In front, a token bucket sheds floods with
429. Ctrl-C lets the requests that were accepted finish.

    FIFOQ_URL=sqlite:///jobs.db uvicorn examples.peak_shaver.gateway:app
    FIFOQ_URL=sqlite:///jobs.db python -m examples.peak_shaver.service       (twice, each in a terminal)
    curl localhost:8000/prime/2147483647
    curl localhost:8000/fibonacci/90
    curl localhost:8000/load

With FIFOQ_URL=memory:// no other process could see the jobs: then the gateway does the work, too.
"""

import os
from typing import Annotated

from fastapi import Depends, FastAPI, Path

from examples.peak_shaver.tasks import fibonacci, is_prime, tasks
from fifoq_fastapi import RateLimit, install_errors, lifespan

alone = os.environ.get("FIFOQ_URL", "memory:").startswith("memory:")
app = FastAPI(
    title="Peak shaver",
    lifespan=lifespan(tasks, worker=alone),
    dependencies=[Depends(RateLimit(burst=5000, per_second=1000))],
)
install_errors(app)  # a full queue: 503 with Retry-After; a result that takes too long: 504


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
