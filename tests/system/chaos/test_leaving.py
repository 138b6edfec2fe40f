"""A process may leave an open Fifoq behind in any way: it ends, and the store is as sound as before."""

import asyncio
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from fifoq.queue import Queue
from fifoq.record import Filter, State
from tests.system.chaos.controller import ROOT, Controller, held, program

PATIENCE = 30.0


class Leaver:
    """A process of `programs/leave.py`."""

    def __init__(self, url: str, how: str) -> None:
        self._process = subprocess.Popen(program("leave", url, how), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        """What it has printed."""

    def ready(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.strip() == "ready":
                return
            self.lines.append(line.strip())
        raise AssertionError(f"it ended with {self._process.wait()}")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        assert self._process.stdout
        with self._process.stdout as out:
            timer = threading.Timer(PATIENCE, self._process.kill)
            timer.start()
            self.lines += [line.strip() for line in out if line.strip() != "ready"]
            timer.cancel()
        return self._process.wait()


async def states(queue: Queue) -> dict[str, State]:
    page = await queue.find(Filter(), 0, 1_000)
    return {record.spec.id: record.state for record in page.records}


async def sound(controller: Controller, ids: list[str]) -> dict[str, State]:
    """The store is sound and has these jobs, in this order; return their states."""
    assert (await controller.queue.audit()).differences == ()
    found = await states(controller.queue)
    assert list(found)[: len(ids)] == ids
    assert len(found) <= len(ids) + 1, "of one the process was not told any more"
    return found


@pytest.mark.parametrize(
    ("how", "code"), [("never closed", 0), ("worker never closed", 0), ("sync", 0), ("exits", 3), ("raises", 1)]
)
async def test_a_process_ends_that_never_closed(controller: Controller, url: str, how: str, code: int) -> None:
    process = Leaver(url, how)
    assert await asyncio.to_thread(process.end) == code
    assert len(process.lines) == 1
    await sound(controller, process.lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("how", "times"), [("idle", 1), ("in a job", 1), ("in a thread", 1), ("stopping", 2)])
async def test_a_worker_ends_at_a_signal_and_puts_its_job_back(
    controller: Controller, url: str, how: str, times: int, number: signal.Signals
) -> None:
    process = Leaver(url, how)
    await asyncio.to_thread(process.ready)
    for _ in range(times):
        process.send(number)
        await asyncio.sleep(0.1)
    assert await asyncio.to_thread(process.end) == 0
    found = await sound(controller, process.lines)
    assert set(found.values()) <= {State.WAITING}
    assert len(found) == (how != "idle")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, -signal.SIGTERM)])
async def test_a_client_ends_at_a_signal_and_what_it_was_told_is_there(
    controller: Controller, url: str, number: signal.Signals, code: int
) -> None:
    process = Leaver(url, "client")
    await asyncio.to_thread(process.ready)
    process.send(number)
    assert await asyncio.to_thread(process.end) == code
    await sound(controller, process.lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_worker_that_cannot_open_its_store_ends_at_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "jobs.db"
    (tmp_path / "jobs.db-fifoq").mkdir()
    (tmp_path / "jobs.db-fifoq" / "lock").touch()
    async with held(path, "lock"):
        process = Leaver(f"sqlite:///{path}?timeout=60", "opening")
        await asyncio.to_thread(process.ready)
        await asyncio.sleep(0.3)
        process.send(number)
        assert await asyncio.to_thread(process.end) == 0


async def test_a_child_of_an_open_fifoq_is_refused_or_opens_it_again_and_harms_nobody(
    controller: Controller, url: str
) -> None:
    process = Leaver(url, "forks")
    assert await asyncio.to_thread(process.end) == 0
    first, refused, second, third, child, fourth, fifth = process.lines
    assert refused.startswith("refused: This Fifoq is not open.")
    assert child == "child 0"
    mine = [first, fourth, fifth]
    if url.startswith("sqlite"):
        assert all("SQLite's locks do not work" in line for line in (second, third))
    else:
        mine[1:1] = second, third
    found = await sound(controller, mine)
    assert set(found.values()) <= {State.SUCCEEDED}
