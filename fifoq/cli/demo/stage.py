"""Where the demo is played: a server process, started and ended with it."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fifoq.cli.demo.http import Address

SERVER = [sys.executable, "-m", "fifoq.cli.demo.server"]
PATIENCE = 30.0
"""Seconds for the server to start, and to end."""


class ServerDidNotStart(Exception):
    """The server process ended before it listened; what it said stands on standard error."""


@asynccontextmanager
async def server(url: str | None, command: list[str]) -> AsyncGenerator[Address]:
    """Run the server on the backend at `url` (None: FIFOQ_URL, or memory) and give its address."""
    # The URL may hold a password: the environment shows it to fewer eyes than the command line.
    environment = os.environ if url is None else os.environ | {"FIFOQ_URL": url}
    # In a session of its own: Ctrl-C is for the demo, which then ends the server.
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, env=environment, start_new_session=True
    )
    try:
        yield Address("127.0.0.1", await _port(process))
    finally:
        await _end(process)


async def _port(process: Process) -> int:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
    if not line:
        raise ServerDidNotStart(f"The demo's server did not start: it ended with status {await process.wait()}.")
    return int(line)


async def _end(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), PATIENCE)
    except TimeoutError:
        process.kill()
        await process.wait()
