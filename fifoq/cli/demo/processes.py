"""The demo's processes: starts, kills and stops a server and two workers. service.py holds their programs."""

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from fifoq.cli.demo.boards import Attempt

SERVER = [sys.executable, "-m", "fifoq.cli.demo.service", "server"]
WORKER = [sys.executable, "-m", "fifoq.cli.demo.service", "worker"]
HOST = "127.0.0.1"
WORKERS = 2
LEASE = 2.0
"""Seconds of the leases. Short, so that the moves of a killed worker run again while the demo lasts."""
PROCESS_TIMEOUT = 30.0
"""Seconds for a process to start, and to end."""
MOST_KILLED = 5
"""Workers that are killed, at most."""
BUSY_TIMEOUT, BUSY_POLL = 10.0, 0.01
"""Seconds to look for a worker with running moves, and between two looks: a slow disk may hold all of them up."""


class Arguments(NamedTuple):
    """The command line of every process. The store's URL is in the environment instead, as it may hold a password."""

    folder: str
    """The folder of the boards."""
    queue: str
    """The name of the queue, another one in each demo: the store may hold jobs of an earlier one."""
    embedded: str = ""
    """Not empty: the server runs the jobs itself."""


class ProcessDidNotStart(Exception):
    """A process of the demo ended before it was ready. Its errors are on standard error."""


class KilledWorker(NamedTuple):
    """A worker process that was killed."""

    worker: int
    """Its process id."""
    signalled: float
    """When the signal was sent (`time.monotonic()`)."""
    dead: float
    """When the process had ended for sure."""


class Processes:
    """The processes of one demo, on the backend at `url`."""

    def __init__(self, url: str, arguments: Arguments) -> None:
        # The URL may hold a password, and an environment is visible to fewer users than a command line.
        self._environment = os.environ | {"FIFOQ_URL": url}
        self._arguments = arguments
        self._all: list[Process] = []
        self.workers: dict[int, Process] = {}
        """The live workers, by process id."""

    async def start(self) -> int:
        """Start the server and, unless that is embedded, the workers; return the server's port."""
        server = await self._start(SERVER)
        workers = [] if self._arguments.embedded else [await self._start_worker() for _ in range(WORKERS)]
        port = int(await _first_line(server, "server"))
        for worker in workers:
            await _first_line(worker, "worker")
        return port

    async def kill(self, worker: int) -> KilledWorker:
        """Kill a worker with SIGKILL, and start another one, as a supervisor does."""
        process = self.workers.pop(worker)
        signalled = time.monotonic()
        process.kill()
        await process.wait()
        killed = KilledWorker(worker, signalled, time.monotonic())
        await self._start_worker()
        return killed

    async def stop(self) -> None:
        """Stop all processes, and wait for their ends."""
        for process in self._all:
            assert process.stdin is not None
            process.stdin.close()
        await asyncio.gather(*(_end(process) for process in self._all))

    async def _start_worker(self) -> Process:
        process = await self._start(WORKER)
        self.workers[process.pid] = process
        return process

    async def _start(self, command: Sequence[str]) -> Process:
        # In a session of its own: Ctrl-C reaches the demo alone, and the demo stops its processes.
        process = await asyncio.create_subprocess_exec(
            *command, *self._arguments, stdin=PIPE, stdout=PIPE, env=self._environment, start_new_session=True
        )
        self._all.append(process)
        return process


@asynccontextmanager
async def running(url: str, arguments: Arguments) -> AsyncGenerator[tuple[Processes, int]]:
    """Run the processes on the backend at `url`; gives them and the server's port. Raises ProcessDidNotStart."""
    processes = Processes(url, arguments)
    try:
        yield processes, await processes.start()
    finally:
        await processes.stop()


async def kill_busy_worker(
    processes: Processes, read_log: Callable[[], Awaitable[Iterable[Attempt]]]
) -> tuple[KilledWorker, ...]:
    """
    Kill the worker with the most running moves; return it.

    If its last move had just ended, the kill interrupted nothing: then the next one is killed too, up to MOST_KILLED.
    `read_log` returns the attempts of all games so far.
    """
    killed: list[KilledWorker] = []
    deadline = time.monotonic() + BUSY_TIMEOUT
    while len(killed) < MOST_KILLED and time.monotonic() < deadline:
        unended = _unended(await read_log(), processes.workers)
        if not unended:
            await asyncio.sleep(BUSY_POLL)
            continue
        [(busiest, _)] = unended.most_common(1)
        killed.append(await processes.kill(busiest))
        if _unended(await read_log(), [busiest]):
            break
    return tuple(killed)


def _unended(log: Iterable[Attempt], workers: Iterable[int]) -> Counter[int]:
    """The number of attempts of each of these workers that have begun and not ended."""
    workers = set(workers)
    return Counter(attempt.worker for attempt in log if attempt.ended is None and attempt.worker in workers)


async def _first_line(process: Process, name: str) -> str:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PROCESS_TIMEOUT)
    if not line:
        raise ProcessDidNotStart(f"The demo's {name} did not start: it ended with status {await process.wait()}.")
    return line.decode()


async def _end(process: Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), PROCESS_TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()
