"""
Starts workers and producers of the backend protocol, quickly: it imports everything once, and forks for each command.

    python -m tests.fifoq_sqlite.programs.fork_server URL LOG_DIRECTORY

Its commands are lines of standard input, "worker NAME POINT NTH" and "producer NAME FIRST COUNT KEYS POINT NTH". It
prints "started NAME PID" and "died NAME CODE TIME". A point is a place in the code at which the process kills itself
with SIGKILL when it reaches it for the NTH time; "nowhere" is none.
"""

import asyncio
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fifoq.queue import Conflict, Full
from fifoq.record import Extension, JobSpec, Lease
from fifoq.testing import AsyncDriver
from fifoq.testing.history import Answer, Answered, Asked, Effect, Ended, FileLog, How, Settled, Started, stamp
from fifoq_sqlite import SqliteBackend
from tests.kill_points import KillPoints, plant_inner

LEASE = 2_000_000
QUEUE = "queue"


async def work(url: str, log: FileLog, name: str, points: KillPoints) -> None:
    backend = SqliteBackend(url)
    await backend.open()
    driver = AsyncDriver(backend.queue(QUEUE), caller=f"{name}-{os.getpid()}", retain=10**12)
    while True:
        points.reach("before claim")
        claimed = await driver.claim_reply(random.randint(1, 4), worker=name, lease=LEASE)
        points.reach("after claim")
        if not claimed.leases:
            await driver.queue.wait(0.2 if claimed.next_timer is None else min(0.2, claimed.next_timer / 1e6))
            continue
        for lease in claimed.leases:
            _begin(log, name, lease)
            points.reach("in task")
            log.write(Effect(stamp(), QUEUE, lease.spec.id, lease.fence))
            log.write(Ended(stamp(), QUEUE, lease.spec.id, lease.fence, How.RETURNED))
        points.reach("before extend")
        await driver.queue.extend([Extension(one.spec.id, one.token, LEASE, b"half") for one in claimed.leases])
        points.reach("before settle")
        asked_at = stamp()
        states = await driver.succeed_all(*claimed.leases)
        for one, state in zip(claimed.leases, states, strict=True):
            log.write(Settled(stamp(), QUEUE, one.spec.id, one.fence, asked_at, state))
        points.reach("after settle")


def _begin(log: FileLog, name: str, lease: Lease) -> None:
    id, fence, attempt, task, seq = lease.spec.id, lease.fence, lease.attempt, lease.spec.task, lease.seq
    log.write(Started(stamp(), QUEUE, id, fence, name, attempt, task, None, seq, lease.started_at))


async def produce(url: str, log: FileLog, name: str, jobs: range, keys: int, points: KillPoints) -> None:
    backend = SqliteBackend(url)
    await backend.open()
    driver = AsyncDriver(backend.queue(QUEUE), caller=f"{name}-{os.getpid()}", retain=10**12)

    async def put(number: int) -> None:
        id, key = f"{name}-{number}", f"k{number % keys}"
        log.write(Asked(stamp(), QUEUE, id, key, name, number))
        points.reach("before put")
        reply = await driver.put_reply(JobSpec(id, "task", b"x" * 50, key, retain=10**12))
        points.reach("after put")
        assert not isinstance(reply, Full | Conflict), reply
        (receipt,) = reply
        answer = Answer.ACCEPTED if receipt.created else Answer.REPEATED
        log.write(Answered(stamp(), QUEUE, id, name, number, answer))

    for first in range(jobs.start, jobs.stop, 5):
        await asyncio.gather(*map(put, range(first, min(first + 5, jobs.stop))))
    await backend.close()


def run(main: Callable[[KillPoints], Coroutine[Any, Any, None]], point: str, nth: int) -> None:
    """In a child: run to the end or to the point."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    points = KillPoints(point, nth, signal.SIGKILL)
    plant_inner("sqlite", points)
    if point == "anywhere":
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.2))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    status = 1
    try:
        asyncio.run(main(points))
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def fork(url: str, directory: Path, words: list[str]) -> int:
    kind, name, *rest = words
    pid = os.fork()
    if pid:
        return pid
    log = FileLog(directory)
    if kind == "worker":
        point, nth = rest
        run(lambda points: work(url, log, name, points), point.replace("_", " "), int(nth))
    first, count, keys, point, nth = rest
    jobs = range(int(first), int(first) + int(count))
    run(lambda points: produce(url, log, name, jobs, int(keys), points), point.replace("_", " "), int(nth))
    raise AssertionError("a child does not get here")


def main() -> None:
    url, directory = sys.argv[1], Path(sys.argv[2])
    names: dict[int, str] = {}
    rest = ""
    while True:
        if select.select([sys.stdin], [], [], 0.002)[0]:
            data = os.read(sys.stdin.fileno(), 65536).decode()
            if not data:
                break
            *lines, rest = (rest + data).split("\n")
            for line in lines:
                pid = fork(url, directory, line.split())
                names[pid] = line.split()[1]
                print("started", names[pid], pid, flush=True)
        while names:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            print("died", names.pop(pid), os.waitstatus_to_exitcode(status), time.monotonic_ns(), flush=True)
    for pid in names:
        os.kill(pid, signal.SIGKILL)


main()
