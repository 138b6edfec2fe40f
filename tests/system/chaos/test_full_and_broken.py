"""A store without room, and one that is damaged, under workers: the error has a name, and nothing told is lost."""
# ruff: noqa: ASYNC240 -- a look at a file on this disk blocks nobody here

import asyncio
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from fifoq import BackendCorrupt, Fifoq
from fifoq.queue import Pause, Resume
from tests.system.chaos.controller import Controller

ROOM = 500_000
"""Bytes: enough to begin with, and for the histories."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}?synchronous=normal"


async def test_a_worker_whose_disk_is_full_goes_on_when_there_is_room(controller: Controller) -> None:
    controller.start("worker", "w", room=ROOM)
    for number in range(3):
        controller.start("producer", f"p{number}", count=150, keys=20, slow=0.05)
    await controller.until(lambda: controller.heard("w", "logged"), "the end of the room")
    assert "BackendFull" in controller.heard("w", "logged")[0]["text"]
    await controller.until(lambda: not controller.running("p"), "the producers, who have room")
    done = (await controller.stats()).succeeded
    await asyncio.sleep(1.0)
    stats = await controller.stats()
    assert stats.succeeded == done < 450
    assert stats.accepted == 450
    controller.signal("w", signal.SIGUSR1)
    await controller.until(controller.all_done, "the rest, now that there is room")
    await controller.stop("w")
    await controller.prove(450)


async def test_a_put_without_room_says_so_and_what_was_acknowledged_is_there(controller: Controller) -> None:
    order = {"prefix": "job", "count": 300, "keys": 20}
    controller.start("worker", "w", concurrency=20)
    controller.start("producer", "p1", room=ROOM, **order)
    await controller.until(lambda: "p1" in controller.codes)
    assert [said["error"] for said in controller.heard("p1", "raised")] == ["BackendFull"]
    assert 0 < (await controller.stats()).accepted < 300
    controller.start("producer", "p2", **order)
    await controller.until(lambda: "p2" in controller.codes)
    await controller.until(controller.all_done)
    await controller.stop("w")
    await controller.prove(300)


async def test_a_log_that_lost_its_end_is_refused_and_with_it_back_nothing_is_lost(
    controller: Controller, path: Path
) -> None:
    log = path.with_name(f"{path.name}-wal")
    controller.start("worker", "w1")
    controller.start("producer", "p1", count=10_000, keys=20)
    await controller.until(lambda: log.exists() and log.stat().st_size > 200_000)
    await controller.store.close()  # or its end would fold the log into the file
    for name in ("w1", "p1"):
        controller.signal(name, signal.SIGKILL)
    await controller.until(lambda: not controller.pids)
    whole = log.read_bytes()
    os.truncate(log, len(whole) // 2)
    controller.start("worker", "w2")
    await controller.until(lambda: "w2" in controller.codes)
    (raised,) = controller.heard("w2", "raised")
    assert raised["error"] == "BackendCorrupt"
    assert "acknowledged are missing" in raised["text"]
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    log.write_bytes(whole)
    await controller.store.open()
    controller.start("worker", "w3", concurrency=20)
    await controller.until(controller.all_done)
    await controller.stop("w3")
    await controller.prove((await controller.stats()).accepted)


async def test_a_page_that_is_damaged_under_a_worker_is_named_and_not_repaired(
    controller: Controller, path: Path, url: str
) -> None:
    controller.start("worker", "w")
    await controller.queue.configure([Pause()])
    controller.start("producer", "p", count=100, keys=20)
    await controller.until(lambda: not controller.running("p"))
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    raw.close()
    backup = path.with_name("backup.db")
    shutil.copy(path, backup)
    damaged = path.read_bytes()[:4096] + b"\xa5" * (path.stat().st_size - 4096)
    with path.open("r+b") as file:  # the same file: the worker has it open
        file.write(damaged)
    with pytest.raises(BackendCorrupt, match="restore a backup"):
        async with Fifoq(url):
            pass
    await controller.until(lambda: controller.heard("w", "logged"), "the worker to notice")
    assert "BackendCorrupt" in controller.heard("w", "logged")[0]["text"]
    assert path.read_bytes()[4096:] == damaged[4096:]
    await controller.stop("w")
    await controller.store.close()

    # The operator restores the backup: as a new file, since this process has not ended.
    os.replace(backup, path)
    for name in ("-wal", "-shm"):
        path.with_name(f"{path.name}{name}").unlink(missing_ok=True)
    await controller.store.open()
    await controller.queue.configure([Resume()])
    controller.start("worker", "again", concurrency=20)
    await controller.until(controller.all_done)
    await controller.stop("again")
    await controller.prove(100)
