"""Many processes on one file, raced and killed: the history checker finds every promise kept."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fifoq.record import Filter, Record
from fifoq.testing.history import Doubted, FileLog, Final, Started, check, read_logs, stamp
from fifoq_sqlite import SqliteBackend

LONG = 120.0
POINTS = (
    "before_claim", "after_claim", "in_task", "before_extend", "before_settle", "after_settle",
    "before_commit", "after_commit", "before_reply", "anywhere",
)  # fmt: skip
KILLS = int(os.environ.get("FIFOQ_KILLS", "60"))


class Processes:
    """The processes that `programs/fork_server.py` starts; their kills are logged."""

    def __init__(self, process: "subprocess.Popen[str]", log: FileLog) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._log = log
        self._stdout = process.stdout
        self.running: dict[str, int] = {}
        self.killed = 0
        self._rest = ""
        os.set_blocking(self._stdout.fileno(), False)

    def start(self, *words: object) -> None:
        self._stdin.write(" ".join(map(str, words)) + "\n")
        self._stdin.flush()
        self.running[str(words[1])] = 0

    def _read(self) -> str:
        try:
            return os.read(self._stdout.fileno(), 1 << 16).decode()
        except BlockingIOError:
            return ""

    def ended(self) -> list[tuple[str, int]]:
        """Return the processes that have ended since the last call, with their exit codes."""
        ended: list[tuple[str, int]] = []
        *lines, self._rest = (self._rest + self._read()).split("\n")
        for line in lines:
            match line.split():
                case ["started", name, pid]:
                    self.running[name] = int(pid)
                case ["died", name, code, at]:
                    del self.running[name]
                    ended.append((name, int(code)))
                    if int(code) < 0:
                        self.killed += 1
                        self._log.write(Doubted(int(at), name))
                case words:
                    raise AssertionError(words)
        return ended


@pytest.fixture
def history(tmp_path: Path) -> Path:
    folder = tmp_path / "history"
    folder.mkdir()
    return folder


@pytest.fixture
def processes(start: Any, url: str, history: Path) -> Iterator[Processes]:
    log = FileLog(history)
    # They wait long for the lock: ten processes and more share what a busy machine gives.
    process = start("fork_server", f"{url}&timeout=60", history)
    processes = Processes(process, log)
    yield processes
    for pid in processes.running.values():
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.stdin.close()
    process.wait(30)
    log.close()


async def records(backend: SqliteBackend) -> AsyncIterator[Record]:
    cursor: int | None = 0
    while cursor is not None:
        page = await backend.queue("queue").find(Filter(), cursor, 1_000)
        cursor = page.cursor
        for record in page.records:
            yield record


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(LONG):
        while not await condition():  # noqa: ASYNC110 -- the condition becomes true in other processes
            await asyncio.sleep(0.01)


async def prove(backend: SqliteBackend, history: Path, jobs: int) -> None:
    """Check the whole history against every promise, and audit the store."""
    with FileLog(history) as log:
        async for record in records(backend):
            log.write(Final("queue", record.spec.id, record.state, record.halted, record.entry))
    audit = await backend.queue("queue").audit()
    assert audit.differences == ()
    assert audit.jobs == jobs
    report = check(read_logs(history))
    assert report.ok, str(report)


async def test_four_producers_and_four_workers_share_a_file(
    backend: SqliteBackend, processes: Processes, history: Path
) -> None:
    for number in range(4):
        processes.start("worker", f"w{number}", "nowhere", 1)
        processes.start("producer", f"p{number}", 0, 250, 7, "nowhere", 1)

    async def done() -> bool:
        assert all(code == 0 for _, code in processes.ended())
        return (await backend.queue("queue").stats()).succeeded == 1_000

    await until(done)
    await prove(backend, history, 1_000)


async def test_killed_workers_lose_nothing_and_mix_up_nothing(
    backend: SqliteBackend, processes: Processes, history: Path
) -> None:
    jobs, names, points = 1_200, iter(range(10**6)), random.Random(5)
    for number in range(3):
        processes.start("producer", f"p{number}", 0, jobs // 3, 150, "nowhere", 1)

    async def step() -> bool:
        processes.ended()
        workers = [name for name in processes.running if name.startswith("w")]
        stats = await backend.queue("queue").stats()
        for _ in range(4 - len(workers)):
            if processes.killed < KILLS:
                processes.start("worker", f"w{next(names)}", points.choice(POINTS), points.randint(1, 5))
            else:
                processes.start("worker", f"w{next(names)}", "nowhere", 1)
        if processes.killed < KILLS and stats.waiting + stats.running < 100:
            processes.start("producer", f"p{next(names)}", 0, 300, 150, "nowhere", 1)
        return processes.killed >= KILLS and stats.waiting + stats.running == 0 and stats.succeeded >= jobs

    await until(step)
    stats = await backend.queue("queue").stats()
    await prove(backend, history, stats.succeeded)
    print(json.dumps({"killed": processes.killed, "jobs": stats.succeeded, "fences": "all ascend"}))


async def test_a_killed_producer_leaves_whole_puts_and_its_successor_repeats_the_last_by_id(
    backend: SqliteBackend, processes: Processes, history: Path
) -> None:
    count, rounds = 40, 12
    points = ("before_put", "after_put", "before_commit", "after_commit", "before_reply")
    processes.start("worker", "w", "nowhere", 1)
    for number in range(rounds):
        processes.start("producer", f"p{number}", 0, count, 3, points[number % len(points)], number % 7 + 1)

    async def dead() -> bool:
        processes.ended()
        return list(processes.running) == ["w"]

    await until(dead)
    assert processes.killed == rounds
    again = stamp()
    for number in range(rounds):
        # The same ids again, as from a producer whose first puts had an unknown outcome.
        processes.start("producer", f"p{number}", 0, count, 3, "nowhere", 1)
    await until(dead)

    async def done() -> bool:
        return (await backend.queue("queue").stats()).succeeded == rounds * count

    await until(done)
    stats = await backend.queue("queue").stats()
    assert (stats.accepted, stats.succeeded) == (rounds * count, rounds * count)
    assert (await backend.queue("queue").audit()).differences == ()
    runs = [event for event in read_logs(history) if isinstance(event, Started)]
    assert len({run.job for run in runs}) == len(runs) == rounds * count, again
