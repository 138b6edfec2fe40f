"""
From BackgroundTasks to fifoq: before and after.

Each change of a profile is sent to the customer database of another company, which is slow at times and fails at every
third call. Before, a change runs as soon as its request is answered: changes of one user overtake each other, and a
change that fails is lost. After, the changes of one user run one after another, and a change that fails is retried
before the next one runs.

The move takes three steps: put `@tasks.task` above the function, use `Jobs` instead of `BackgroundTasks`, and `await`.

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
    """The other company's database: the profiles that it received, in the order in which they arrived."""

    def __init__(self) -> None:
        self.received: defaultdict[str, list[Profile]] = defaultdict(list)
        self._calls = 0

    async def update(self, user: str, profile: Profile) -> None:
        self._calls += 1
        if self._calls % 3 == 0:
            raise ConnectionError("unavailable")
        await asyncio.sleep(random.uniform(0, 0.05))
        self.received[user].append(profile)


customers = {"before": Customers(), "after": Customers()}


# ---- before: BackgroundTasks ----


async def update_customer_before(user: str, profile: Profile) -> None:
    try:
        await customers["before"].update(user, profile)
    except ConnectionError as error:
        log.warning("version %d of %s is lost: %s", profile.version, user, error)


@app.post("/before/{user}", status_code=202)
async def change_before(user: str, profile: Profile, background: BackgroundTasks) -> None:
    background.add_task(update_customer_before, user, profile)


# ---- after: fifoq ----


@tasks.task(key="user", retry=Retry(attempts=20, backoff=0.02))
async def update_customer(user: str, profile: Profile) -> None:
    await customers["after"].update(user, profile)


@app.post("/after/{user}", status_code=202)
async def change_after(user: str, profile: Profile, jobs: Jobs) -> None:
    await jobs.add_task(update_customer, user, profile)


# ---- the result ----


@app.get("/customers/{way}/{user}")
async def show_customer(way: str, user: str) -> list[Profile]:
    return customers[way].received[user]
