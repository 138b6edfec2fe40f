"""Worker processes of a supervisor are killed under load: no job is lost, and those of a key run in order."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fifoq import Fifoq
from tests.fifoq.cli.conftest import Program

KILLS = int(os.environ.get("FIFOQ_KILLS", "16"))
KEYS, BATCH = 12, 60
COMMAND = [
    sys.executable,
    "-c",
    # Else the pauses grow with the kills, to half a minute.
    "from fifoq.cli import main, supervisor as s; s.FIRST_PAUSE = s.LONGEST_PAUSE = 0.05; main()",
]
APP = """
import asyncio, os
from fifoq import Fifoq

tasks = Fifoq(lease=1.0)
log = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@tasks.task(key="key", max_crashes=1000)
async def step(key: str, n: int) -> None:
    os.write(log, f"begin {key} {n}\\n".encode())
    await asyncio.sleep(0.02)
    os.write(log, f"end {key} {n}\\n".encode())
"""


@pytest.fixture
def worker(tmp_path: Path, url: str) -> Iterator[Program]:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "log").touch()
    arguments = ("worker", "app", "--processes", "4", "--concurrency", "5", "--grace", "5")
    program = Program(tmp_path, arguments, {"FIFOQ_URL": url}, COMMAND)
    yield program
    program.kill()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the processes by /proc")
async def test_killed_worker_processes_lose_nothing_and_mix_up_nothing(
    worker: Program, url: str, tmp_path: Path
) -> None:
    dice = random.Random(7)
    tasks = Fifoq(url)

    @tasks.task(key="key", max_crashes=1000)
    async def step(key: str, n: int) -> None: ...

    supervisor, jobs, kills = worker.process.pid, 0, 0
    killed: set[int] = set()
    async with tasks:
        while kills < KILLS:
            if (await tasks.stats())["default"].waiting < BATCH:
                numbers = range(jobs, jobs + BATCH)
                await tasks.enqueue_many([step.bind(f"k{number % KEYS}", number // KEYS) for number in numbers])
                jobs += BATCH
            begun = (tmp_path / "log").stat().st_size
            deadline = time.monotonic() + 60
            while (tmp_path / "log").stat().st_size == begun:  # so that one of them is at work
                assert time.monotonic() < deadline, "no job begins"
                await asyncio.sleep(0.005)
            alive = sorted(set(children(supervisor)) - killed)
            if len(alive) > 1:
                victim = dice.choice(alive)
                os.kill(victim, signal.SIGKILL)
                killed.add(victim)
                kills += 1
        deadline = time.monotonic() + 90
        while (stats := (await tasks.stats())["default"]).succeeded < jobs:
            assert time.monotonic() < deadline, stats
            await asyncio.sleep(0.05)
        assert stats.succeeded == jobs
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert worker.text.count("was killed by SIGKILL") >= kills - 4
    check((tmp_path / "log").read_text().splitlines(), jobs)


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def check(lines: list[str], jobs: int) -> None:
    """Check that each job of a key began when the one before it had ended, and that all have ended."""
    current: dict[str, int] = {}
    ended: set[tuple[str, int]] = set()
    for line in lines:
        what, key, text = line.split()
        n = int(text)
        last = current.get(key, -1)
        if what == "end":
            assert n == last, line
            ended.add((key, n))
        else:
            assert n == last or (n == last + 1 and (last == -1 or (key, last) in ended)), line
            current[key] = n
    assert len(ended) == jobs
