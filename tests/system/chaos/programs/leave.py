"""
Leaves an open Fifoq behind in one of many ways: `python leave.py URL HOW`. Prints the id of each job that it was told
is there, and "ready" when it is time for a signal.
"""

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from typing import Any

from fifoq import ConfigurationError, Fifoq

url, how = sys.argv[1:]
tasks = Fifoq(url)
tasks.queue("chaos")


@tasks.task(queue="chaos")
async def sleep() -> None:
    print("ready", flush=True)
    await asyncio.sleep(3_600)


@tasks.task(queue="chaos")
def hang() -> None:
    print("ready", flush=True)
    time.sleep(3_600)


@tasks.task(queue="chaos")
async def nothing() -> None: ...


async def put(task: Any = nothing) -> None:
    print((await task.enqueue()).id, flush=True)


async def never_closed() -> None:
    await tasks.__aenter__()
    await put()


async def worker_never_closed() -> None:
    await tasks.__aenter__()
    await tasks.worker().__aenter__()
    job = await nothing.enqueue()
    print(job.id, flush=True)
    await job.result(timeout=20)


async def exits() -> None:
    async with tasks, tasks.worker():
        await put()
        sys.exit(3)


async def raises() -> None:
    async with tasks, tasks.worker():
        await put()
        raise LookupError("of the program itself")


async def client() -> None:
    async with tasks:
        for number in range(10**9):
            await put()
            if number == 5:
                print("ready", flush=True)


async def opening() -> None:
    """While somebody else has the lock."""
    print("ready", flush=True)
    await tasks.worker().run()


async def idle() -> None:
    asyncio.get_running_loop().call_later(0.3, lambda: print("ready", flush=True))
    await tasks.worker().run()


async def busy(task: Any, grace: float) -> None:
    async with tasks:
        await put(task)
    await tasks.worker(grace=grace).run()


async def forks() -> None:
    """A child of an open Fifoq with a worker: what it may do, and what it does to its parent."""
    async with tasks, tasks.worker():
        await put()
        pid = os.fork()
        if not pid:
            asyncio.events._set_running_loop(None)
            try:
                os._exit(as_child())
            finally:
                os._exit(1)
        status = await asyncio.to_thread(os.waitpid, pid, 0)
        print("child", os.waitstatus_to_exitcode(status[1]), flush=True)
        await put()
        job = await nothing.enqueue()
        print(job.id, flush=True)
        await job.result(timeout=20)


def as_child() -> int:
    try:
        run(put())
        print("the parent's connection was used", flush=True)
    except ConfigurationError as error:
        print("refused:", error, flush=True)
    for attempt in (lambda: run(reopened()), lambda: print(nothing.enqueue_sync().id, flush=True)):
        try:
            attempt()
        except ConfigurationError as error:
            print("not here:", error, flush=True)
    return 0


async def reopened() -> None:
    async with tasks:
        await put()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.new_event_loop().run_until_complete(work)


if how == "sync":
    print(nothing.enqueue_sync().id, flush=True)
else:
    ways = {
        "never closed": never_closed,
        "worker never closed": worker_never_closed,
        "exits": exits,
        "raises": raises,
        "client": client,
        "opening": opening,
        "idle": idle,
        "in a job": lambda: busy(sleep, 0.2),
        "in a thread": lambda: busy(hang, 0.2),
        "stopping": lambda: busy(sleep, 3_600.0),
        "forks": forks,
    }
    asyncio.run(ways[how]())
