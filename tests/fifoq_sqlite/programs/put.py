"""
Puts jobs one by one, then ends in some way: `python put.py URL COUNT END`. Prints the id of each acknowledged job.

END is "close"; "die" (SIGKILL: the log stays as it is); "exit" (leave without closing); "full" (a file size limit of
300 kB; prints "BackendFull" at the limit, lifts it, puts one more); "fork" (fork, and try the backend in the child);
"close_and_fork"; or "orphan" (fork a child that lives on, and die in a put, holding the lock).
"""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from fifoq.errors import BackendFull, ConfigurationError
from fifoq.queue import Call
from fifoq.record import JobSpec
from fifoq_sqlite import SqliteBackend
from fifoq_sqlite.session import Session

url, count, end = sys.argv[1], int(sys.argv[2]), sys.argv[3]
CALLER = f"caller-{os.getpid()}"
BODY = b"x" * 500


async def put(backend: SqliteBackend, number: int) -> None:
    id = f"{os.getpid()}-{number}"
    await backend.queue("queue").put(Call(f"{CALLER}-{os.getpid()}", number), [[JobSpec(id, "task", BODY, "k")]])
    print(id, flush=True)


async def fill(backend: SqliteBackend) -> None:
    """Put jobs up to the limit, lift it, and put one more."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    number = count + 1
    try:
        while True:
            await put(backend, number)
            number += 1
    except BackendFull as error:
        print(type(error).__name__, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await put(backend, number + 1)


async def in_child(backend: SqliteBackend) -> None:
    try:
        await put(backend, 1_000)
        print("the parent's connection was used", flush=True)
    except ConfigurationError:
        print("refused", flush=True)
    try:
        await backend.open()
        print("opened without locks", flush=True)
    except ConfigurationError:
        print("refused again", flush=True)


async def main() -> None:
    backend = SqliteBackend(url)
    await backend.open()
    if end == "orphan":
        if os.fork() == 0:
            sys.stdin.read()
            os._exit(0)
        # The process dies in the middle of a transaction, holding the lock.
        Session.commit = lambda session: os.kill(os.getpid(), signal.SIGKILL)
        await put(backend, count + 1)
    for number in range(1, count + 1):
        await put(backend, number)
    if end == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "full":
        await fill(backend)
    if end == "fork":
        fork(backend, in_child)
        await put(backend, count + 1)
    if end != "exit":
        await backend.close()
    if end == "close_and_fork":
        fork(backend, put_once)


async def put_once(backend: SqliteBackend) -> None:
    await backend.open()
    await put(backend, 1_000)
    await backend.close()


def fork(backend: SqliteBackend, live: Callable[[SqliteBackend], Coroutine[Any, Any, None]]) -> None:
    child = os.fork()
    if child == 0:
        asyncio.events._set_running_loop(None)
        asyncio.set_event_loop(asyncio.new_event_loop())
        asyncio.get_event_loop().run_until_complete(live(backend))
        os._exit(0)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


asyncio.run(main())
