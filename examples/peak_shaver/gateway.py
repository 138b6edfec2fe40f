"""
The peak shaver: a gateway whose requests wait for results, and that keeps working under overload.

The gateway only enqueues; services, each in its own process, run the jobs. Each task limits its running jobs, over all
services, and its waiting jobs; beyond that the gateway answers 503 at once. Before that, a token bucket sheds floods
with 429. After Ctrl-C the gateway first answers the requests that it has accepted.

    FIFOQ_URL=sqlite:///jobs.db uvicorn examples.peak_shaver.gateway:app
    FIFOQ_URL=sqlite:///jobs.db python -m examples.peak_shaver.service       (twice, each in a terminal)
    curl localhost:8000/prime/2147483647
    curl localhost:8000/fibonacci/90
    curl localhost:8000/load

With FIFOQ_URL=memory:// other processes could not see the jobs, so the gateway runs them itself.
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
install_errors(app)  # 503 with Retry-After for a full queue, 504 for a late result


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
