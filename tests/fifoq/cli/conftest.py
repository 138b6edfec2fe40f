"""The real program `fifoq`, in a process of its own: its lines, its signals, its exit status."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FIFOQ = [sys.executable, "-c", "from fifoq.cli import main; main()"]
TIMEOUT = 90.0
"""Seconds until a test gives up on a line: only a program that hangs needs so many."""

SHOP = """
import asyncio, os, signal, time
from fifoq import Fifoq

tasks = Fifoq(lease=3.0, patience=0.5)

@tasks.task(key="customer", limit=7)
async def add(customer: str, n: int) -> int:
    print("add", customer, n, os.getpid(), flush=True)
    return n

@tasks.task
async def pause(seconds: float) -> None:
    print("ran pause", os.getpid(), flush=True)
    await asyncio.sleep(seconds)

@tasks.task
def block(seconds: float) -> None:
    print("ran block", os.getpid(), flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)

@tasks.task(queue="letters", run_in="process")
def square(n: int) -> int:
    return n * n
"""


class Program:
    """A `fifoq` that runs, in `folder`. Its output and its errors are one list of lines."""

    def __init__(
        self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str], command: list[str] = FIFOQ
    ) -> None:
        clean = {name: text for name, text in os.environ.items() if not name.startswith("FIFOQ_")}
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            env=clean | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._workers: set[int] = set()
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def line(self, *parts: str) -> str:
        """Wait for the next line that has one of these parts; return it."""
        while True:
            line = self._queue.get(timeout=TIMEOUT)
            assert line is not None, f"no line with {parts} in:\n" + self.text
            self.lines.append(line)
            if any(part in line for part in parts):
                return line

    def pids(self, task: str, count: int) -> set[int]:
        """Wait for lines of a task from so many different processes; return their ids."""
        found: set[int] = set()
        while len(found) < count:
            found.add(int(self.line(f"ran {task} ").split()[-1]))
        self._workers |= found
        return found

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end, and for that of all that writes to its output; return the exit status."""
        status = self.process.wait(TIMEOUT)
        while (line := self._queue.get(timeout=TIMEOUT)) is not None:
            self.lines.append(line)
        return status

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def kill(self) -> None:
        """Kill it, and those of its processes that `pids` has found, if it has left them behind."""
        self.process.kill()
        self.process.wait()
        for pid in filter(lives, self._workers):
            if b"fifoq.cli.supervised" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


Start = Callable[..., Program]


def lives(pid: int) -> bool:
    """Whether there is a process of that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with shop.py."""
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store that processes share."""
    if request.param == "redis":
        return request.getfixturevalue("any_redis_server").url
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts `fifoq` with some arguments, and with environment variables as keywords. It ends with the test."""
    programs: list[Program] = []

    def begin(*arguments: str, **environment: str) -> Program:
        program = Program(folder, arguments, environment)
        programs.append(program)
        return program

    yield begin
    for program in programs:
        program.kill()


@pytest.fixture
def shop(folder: Path, url: str) -> Any:
    """The Fifoq of shop.py on the store at `url`, to enqueue with."""
    return shop_on(url)


def shop_on(url: str) -> Any:
    module: dict[str, Any] = {"__name__": "shop"}
    exec(SHOP.replace("Fifoq(", f"Fifoq({url!r}, ").replace(', run_in="process"', ""), module)
    return module["tasks"]
