"""Where the demo is played: a server process, and worker processes beside it, started and ended with the demo."""

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from fifoq.cli.demo.http import Address
from fifoq.cli.demo.moves import Scene

SERVER = [sys.executable, "-m", "fifoq.cli.demo.server"]
WORKER = [sys.executable, "-m", "fifoq.cli.demo.worker"]
WORKERS = 2
PATIENCE = 30.0
"""Seconds for a process to start, and to end."""


class ProcessDidNotStart(Exception):
    """A process of the demo ended before it was ready; what it said stands on standard error."""


class Casualty(NamedTuple):
    """A worker process that was killed."""

    worker: int
    """Its process id."""
    struck: float
    """When the signal was sent (`time.monotonic()`)."""
    dead: float
    """When it was gone for sure."""


class Stage:
    """The processes of one demo. `url` and `scene` are what they are told."""

    def __init__(self, url: str, scene: Scene) -> None:
        # The URL may hold a password: the environment shows it to fewer eyes than the command line.
        self._environment = os.environ | {"FIFOQ_URL": url}
        self._scene = scene
        self._processes: list[Process] = []
        self.workers: dict[int, Process] = {}
        """Those that live, by process id."""

    async def set(self) -> Address:
        """Start the server and, unless it does the work itself, the workers; return the server's address."""
        server = await self._start(SERVER)
        workers = [] if self._scene.embedded else [await self._start_worker() for _ in range(WORKERS)]
        port = int(await _first_line(server, "server"))
        for worker in workers:
            await _first_line(worker, "worker")
        return Address("127.0.0.1", port)

    async def kill(self, worker: int) -> Casualty:
        """Kill a worker with SIGKILL, and start another one in its place, as a supervisor does."""
        process = self.workers.pop(worker)
        struck = time.monotonic()
        process.kill()
        await process.wait()
        casualty = Casualty(worker, struck, time.monotonic())
        await self._start_worker()
        return casualty

    async def clear(self) -> None:
        """End all processes, and wait for their ends."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        await asyncio.gather(*(_end(process) for process in self._processes))

    async def _start_worker(self) -> Process:
        process = await self._start(WORKER)
        self.workers[process.pid] = process
        return process

    async def _start(self, command: Sequence[str]) -> Process:
        # In a session of its own: Ctrl-C is for the demo, which then ends its processes.
        process = await asyncio.create_subprocess_exec(
            *command, *self._scene, stdin=PIPE, stdout=PIPE, env=self._environment, start_new_session=True
        )
        self._processes.append(process)
        return process


@asynccontextmanager
async def setting(url: str, scene: Scene) -> AsyncGenerator[tuple[Stage, Address]]:
    """Set the stage on the backend at `url`, and clear it in the end. Raises ProcessDidNotStart."""
    stage = Stage(url, scene)
    try:
        yield stage, await stage.set()
    finally:
        await stage.clear()


async def _first_line(process: Process, what: str) -> str:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
    if not line:
        raise ProcessDidNotStart(f"The demo's {what} did not start: it ended with status {await process.wait()}.")
    return line.decode()


async def _end(process: Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), PATIENCE)
    except TimeoutError:
        process.kill()
        await process.wait()
