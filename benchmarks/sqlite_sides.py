"""
The contestants of the SQLite benchmarks, each on a file of its own: fifoq, huey, persist-queue, and the floor.

All flush as often as told (`synchronous`) and, but for one, write a log ahead (`journal_mode=WAL`); everything else is
each one's default. A job takes no argument and does nothing.
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

from benchmarks.end_to_end import Tally
from fifoq import Fifoq

FLIGHT = 100


class Side(NamedTuple):
    """One contestant, opened."""

    one: Callable[[], Awaitable[Any]]
    """Enqueue one job, and return once it is committed."""
    flight: Callable[[], Awaitable[Any]]
    """Enqueue FLIGHT jobs, all at once if it can."""
    run: Callable[[Tally], Awaitable[None]]
    """Run what was enqueued with one worker, until the tally is full."""


Open = Callable[[Path, str], AbstractAsyncContextManager[Side]]
"""Opens a contestant on a file in that folder, with that `synchronous`."""


@asynccontextmanager
async def fifoq_side(folder: Path, synchronous: str) -> AsyncGenerator[Side]:
    tasks = Fifoq(f"sqlite:///{folder / 'fifoq.db'}?synchronous={synchronous}")
    running: list[Tally] = []

    @tasks.task(retain=0.0)
    async def noop() -> None:
        running[0].count()

    async def flight() -> None:
        await asyncio.gather(*(noop.enqueue() for _ in range(FLIGHT)))

    async def run(tally: Tally) -> None:
        running[:] = [tally]
        async with tasks.worker(concurrency=FLIGHT):
            await tally.all_ran()

    async with tasks:
        yield Side(noop.enqueue, flight, run)


class _Storage(SqliteStorage):
    """huey's own, which knows `FULL` and `OFF`, with `NORMAL` too."""

    def __init__(self, *args: Any, synchronous: str, **kwargs: Any) -> None:
        self._synchronous = synchronous
        super().__init__(*args, **kwargs)

    def _create_connection(self) -> sqlite3.Connection:
        connection = super()._create_connection()
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        return connection


@asynccontextmanager
async def huey_side(folder: Path, synchronous: str) -> AsyncGenerator[Side]:
    """It is synchronous: each call commits before it returns, and the loop waits."""
    logging.getLogger("huey").setLevel(logging.ERROR)
    huey = SqliteHuey(
        "bench", storage_class=partial(_Storage, synchronous=synchronous), results=False, filename=folder / "huey.db"
    )
    running: list[tuple[asyncio.AbstractEventLoop, Tally]] = []

    @huey.task()
    def noop() -> None:
        loop, tally = running[0]
        # The last of them ends the round, on the loop.
        if tally.left == 1:
            loop.call_soon_threadsafe(tally.count)
        else:
            tally.count()

    async def one() -> None:
        noop()

    async def flight() -> None:
        for _ in range(FLIGHT):
            noop()

    async def run(tally: Tally) -> None:
        running[:] = [(asyncio.get_running_loop(), tally)]
        consumer = Consumer(huey, workers=1, periodic=False, check_worker_health=False)
        consumer.start()
        await tally.all_ran()
        consumer.stop()
        await asyncio.to_thread(consumer._join_workers)

    yield Side(one, flight, run)
    huey.storage.close()


@asynccontextmanager
async def persist_side(folder: Path, synchronous: str, journal: str = "WAL") -> AsyncGenerator[Side]:
    """persist-queue's asyncio queue. It has no workers; each call waits for the one before. Its journal: `DELETE`."""
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

    yield Side(one, flight, _cannot_run)
    await jobs.close()


@asynccontextmanager
async def floor_side(folder: Path, synchronous: str) -> AsyncGenerator[Side]:
    """What an awaited commit costs at least: a thread, one hop there and back, one INSERT that commits by itself."""
    calls: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()
    loop = asyncio.get_running_loop()

    def work() -> None:
        connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
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
    yield Side(one, flight, _cannot_run)
    calls.put(None)
    thread.join()


async def _cannot_run(tally: Tally) -> None:
    raise AssertionError("it has no workers")
