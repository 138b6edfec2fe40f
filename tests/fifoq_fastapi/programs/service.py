"""An app on the backend of FIFOQ_URL, for tests that end its process: tasks that hold, and routes that await a job."""

import asyncio
import os
import time

from fastapi import FastAPI

from fifoq import Fifoq
from fifoq_fastapi import install_errors, lifespan, router

tasks = Fifoq()
app = FastAPI(lifespan=lifespan(tasks, worker=True))
app.include_router(router(tasks, expose="all", public=True))
install_errors(app)


@tasks.task
async def hold(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "held"


@tasks.task
async def hold_until_released() -> str:
    while not os.path.exists(os.environ["RELEASE"]):  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.01)
    return "held"


@tasks.task
def hold_thread(seconds: float) -> str:
    time.sleep(seconds)
    return "held"


@tasks.task(key="line")
async def note(line: str, number: int) -> int:
    with open(os.environ["NOTES"], "a") as notes:  # noqa: ASYNC230 (some microseconds)
        notes.write(f"{line} {number} {os.getpid()}\n")
    return os.getpid()


@app.get("/call/{seconds}")
async def call(seconds: float) -> str:
    return await hold.call(seconds)


@app.get("/call-until-released")
async def call_until_released() -> str:
    return await hold_until_released.call()


@app.get("/process")
async def process() -> int:
    return os.getpid()
