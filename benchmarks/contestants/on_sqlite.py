"""
The contestants on SQLite, each on a file of its own: fifoq, huey, persist-queue, and a bare commit.

All of them get the same `synchronous` setting and, but for one, a write-ahead log (`journal_mode=WAL`); all other
settings are their defaults. A job takes no argument and does nothing.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from huey import SqliteHuey
from huey.consumer import Consumer
from huey.storage import SqliteStorage
from persistqueue.async_sqlqueue import AsyncSQLiteQueue

from benchmarks.counter import JobCounter
from fifoq import Fifoq

FLIGHT = 100


class Opened(NamedTuple):
    """One contestant, opened."""

    one: Callable[[], Awaitable[Any]]
    """Enqueue one job, and return once it is committed."""
    flight: Callable[[], Awaitable[Any]]
    """Enqueue FLIGHT jobs, all at once if the contestant can."""
    run: Callable[[JobCounter], Awaitable[None]]
    """Run the enqueued jobs with one worker, until all that the counter expects have run."""


Open = Callable[[Path, str], AbstractAsyncContextManager[Opened]]
"""Opens a contestant on a file in a folder, with a level of `synchronous`."""


@asynccontextmanager
async def fifoq(folder: Path, synchronous: str) -> AsyncGenerator[Opened]:
    tasks = Fifoq(f"sqlite:///{folder / 'fifoq.db'}?synchronous={synchronous}")
    running: list[JobCounter] = []

    @tasks.task(retain=0.0)
    async def noop() -> None:
        running[0].count()

    async def flight() -> None:
        await asyncio.gather(*(noop.enqueue() for _ in range(FLIGHT)))

    async def run(counter: JobCounter) -> None:
        running[:] = [counter]
        async with tasks.worker(concurrency=FLIGHT):
            await counter.all_ran()

    async with tasks:
        yield Opened(noop.enqueue, flight, run)


class _Storage(SqliteStorage):
    """huey's storage, which has the levels `FULL` and `OFF`, with `NORMAL` too."""

    def __init__(self, *args: Any, synchronous: str, **kwargs: Any) -> None:
        self._synchronous = synchronous
        super().__init__(*args, **kwargs)

    def _create_connection(self) -> sqlite3.Connection:
        connection = super()._create_connection()
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        return connection


@asynccontextmanager
async def huey(folder: Path, synchronous: str) -> AsyncGenerator[Opened]:
    """huey is synchronous: each call commits before it returns, and the loop waits."""
    logging.getLogger("huey").setLevel(logging.ERROR)
    app = SqliteHuey(
        "bench", storage_class=partial(_Storage, synchronous=synchronous), results=False, filename=folder / "huey.db"
    )
    running: list[tuple[asyncio.AbstractEventLoop, JobCounter]] = []

    @app.task()
    def noop() -> None:
        loop, counter = running[0]
        # The last job ends the round, on the loop.
        if counter.left == 1:
            loop.call_soon_threadsafe(counter.count)
        else:
            counter.count()

    async def one() -> None:
        noop()

    async def flight() -> None:
        for _ in range(FLIGHT):
            noop()

    async def run(counter: JobCounter) -> None:
        running[:] = [(asyncio.get_running_loop(), counter)]
        consumer = Consumer(app, workers=1, periodic=False, check_worker_health=False)
        consumer.start()
        await counter.all_ran()
        consumer.stop()
        await asyncio.to_thread(consumer._join_workers)

    yield Opened(one, flight, run)
    app.storage.close()


@asynccontextmanager
async def persist_queue(folder: Path, synchronous: str, journal: str = "WAL") -> AsyncGenerator[Opened]:
    """persist-queue's asyncio queue. It has no workers, and runs its calls one by one. Its own journal is `DELETE`."""
    path = folder / f"persist-{journal}.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.close()
    jobs = AsyncSQLiteQueue(str(path))
    await jobs._init()
    await jobs._conn.execute(f"PRAGMA synchronous = {synchronous}")

    async def one() -> None:
        await jobs.put({"task": "noop", "args": (), "kwargs": {}})

    async def flight() -> None:
        await asyncio.gather(*(one() for _ in range(FLIGHT)))

    yield Opened(one, flight, _cannot_run)
    await jobs.close()


@asynccontextmanager
async def bare_commit(folder: Path, synchronous: str) -> AsyncGenerator[Opened]:
    """The least that an awaited commit costs: a thread, one hop there and back, one INSERT that commits by itself."""
    calls: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()
    loop = asyncio.get_running_loop()

    def work() -> None:
        connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("CREATE TABLE jobs (job INTEGER PRIMARY KEY, body BLOB)")
        while (call := calls.get()) is not None:
            connection.execute("INSERT INTO jobs (body) VALUES (?)", (b"noop" * 25,))
            loop.call_soon_threadsafe(call.set_result, None)
        connection.close()

    async def one() -> None:
        call: asyncio.Future[None] = loop.create_future()
        calls.put(call)
        await call

    async def flight() -> None:
        await asyncio.gather(*(one() for _ in range(FLIGHT)))

    thread = threading.Thread(target=work)
    thread.start()
    yield Opened(one, flight, _cannot_run)
    calls.put(None)
    thread.join()


async def _cannot_run(counter: JobCounter) -> None:
    raise AssertionError("this contestant has no workers")
