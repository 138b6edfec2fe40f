"""
The scoreboard: game servers send statistics of their matches faster than the database can store them.

The route answers at once. The statistics of one match are stored in the order of their requests, so that old ones never
overwrite newer ones; different matches do not wait for each other.

    FIFOQ_URL=memory:// uvicorn examples.scoreboard:app
    curl -X POST localhost:8000/matches/m1/stats --json '{"tick": 1, "goals": 0}'
    curl localhost:8000/matches/m1
"""

import asyncio
import random

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from fifoq import Fifoq
from fifoq_fastapi import install_errors, lifespan

tasks = Fifoq()  # opens FIFOQ_URL, or memory:// if that is not set
app = FastAPI(title="Scoreboard", lifespan=lifespan(tasks, worker=True))
install_errors(app)


class Stats(BaseModel):
    tick: int
    goals: int


scoreboard: dict[str, Stats] = {}  # stands for your database


@tasks.task(key="match_id", retry=5)
async def save_stats(match_id: str, stats: Stats) -> None:
    await asyncio.sleep(random.uniform(0, 0.02))  # a database is fast at times and slow at others
    scoreboard[match_id] = stats


@app.post("/matches/{match_id}/stats", status_code=202)
async def push_stats(match_id: str, stats: Stats) -> dict[str, str]:
    job = await save_stats.enqueue(match_id, stats)
    return {"job": job.id}


@app.get("/matches/{match_id}")
async def show_stats(match_id: str) -> Stats:
    if match_id not in scoreboard:
        raise HTTPException(404, f"no statistics of match {match_id!r} yet")
    return scoreboard[match_id]
