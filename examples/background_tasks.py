"""
From BackgroundTasks to fifoq: before and after.

Every change of a profile is to reach a customer database of somebody else: slow at times, and out of order every third
call. Before, each change runs as soon as its request is answered, whatever the others do, and one that fails is gone.
After, those of one user run one after another, and one that fails is tried again before the next.

What moving takes: `@tasks.task` above the function, `Jobs` for `BackgroundTasks`, and an `await`.

    FIFOQ_URL=memory:// uvicorn examples.background_tasks:app
    curl -X POST localhost:8000/before/ada --json '{"version": 1, "email": "ada@example.org"}'
    curl -X POST localhost:8000/after/ada --json '{"version": 1, "email": "ada@example.org"}'
    curl localhost:8000/customers/after/ada
"""

import asyncio
import logging
import random
from collections import defaultdict

from fastapi import BackgroundTasks, FastAPI
from pydantic import BaseModel

from fifoq import Fifoq, Retry
from fifoq_fastapi import Jobs, install_errors, lifespan

log = logging.getLogger("profiles")
tasks = Fifoq()
app = FastAPI(title="Profiles", lifespan=lifespan(tasks, worker=True))
install_errors(app)


class Profile(BaseModel):
    version: int
    email: str


class Customers:
    """The database of somebody else: what it was told, in the order in which it was told."""

    def __init__(self) -> None:
        self.told: defaultdict[str, list[Profile]] = defaultdict(list)
        self._calls = 0

    async def update(self, user: str, profile: Profile) -> None:
        self._calls += 1
        if self._calls % 3 == 0:
            raise ConnectionError("out of order")
        await asyncio.sleep(random.uniform(0, 0.05))
        self.told[user].append(profile)


customers = {"before": Customers(), "after": Customers()}


# ---- before


async def update_customer_before(user: str, profile: Profile) -> None:
    try:
        await customers["before"].update(user, profile)
    except ConnectionError as error:
        log.warning("version %d of %s is lost: %s", profile.version, user, error)


@app.post("/before/{user}", status_code=202)
async def change_before(user: str, profile: Profile, background: BackgroundTasks) -> None:
    background.add_task(update_customer_before, user, profile)


# ---- after


@tasks.task(key="user", retry=Retry(attempts=20, backoff=0.02))
async def update_customer(user: str, profile: Profile) -> None:
    await customers["after"].update(user, profile)


@app.post("/after/{user}", status_code=202)
async def change_after(user: str, profile: Profile, jobs: Jobs) -> None:
    await jobs.add_task(update_customer, user, profile)


# ---- what came of it


@app.get("/customers/{way}/{user}")
async def show_customer(way: str, user: str) -> list[Profile]:
    return customers[way].told[user]
