"""A program without `if __name__ == "__main__":` makes no second worker of a child process; its jobs say so."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fifoq import Fifoq, Job
from fifoq.main_guard import GUARD

SHOP = """
from fifoq import Fifoq

tasks = Fifoq()

@tasks.task(run_in="process")
def square(n: int) -> int:
    return n * n

@tasks.task
async def note(n: int) -> int:
    return n
"""

REFUSED = {
    "runs a worker": """
import asyncio
from shop import tasks
asyncio.run(tasks.worker().run())
""",
    "embeds a worker": """
import asyncio
from shop import tasks
async def main():
    async with tasks, tasks.worker():
        await asyncio.Event().wait()
asyncio.run(main())
""",
    "enqueues": """
import asyncio
from shop import note, tasks
async def enqueue():
    async with tasks:
        await note.enqueue(1)
asyncio.run(enqueue())
if __name__ == "__main__":
    asyncio.run(tasks.worker().run())
""",
    "enqueues without a loop": """
import asyncio
from shop import note, tasks
note.enqueue_sync(1)
if __name__ == "__main__":
    asyncio.run(tasks.worker().run())
""",
    "catches the error and ends": """
import asyncio, sys
from shop import tasks
try:
    asyncio.run(tasks.worker().run())
except Exception:
    sys.exit(3)
""",
    "serves": """
import socket, uvicorn
from fastapi import FastAPI
from fifoq_fastapi import lifespan
from shop import tasks
uvicorn.run(FastAPI(lifespan=lifespan(tasks, worker=True)), port=0)
""",
    "is the module of the task": """
import asyncio, multiprocessing
from shop import tasks

@tasks.task(run_in="process", name="square")
def twice(n: int) -> int:
    return n * n

asyncio.run(tasks.worker().run())
""",
}

HARMLESS = {
    "is guarded": """
import asyncio
from shop import tasks
if __name__ == "__main__":
    asyncio.run(tasks.worker().run())
""",
    "starts a worker in a thread": """
import asyncio, threading
from shop import tasks
threading.Thread(target=lambda: asyncio.run(tasks.worker().run()), daemon=__name__ != "__main__").start()
""",
    "catches the error and goes on": """
import asyncio
from shop import tasks
try:
    asyncio.run(tasks.worker().run())
except Exception:
    pass
""",
}


@contextmanager
def working(folder: Path, program: str) -> Iterator[None]:
    """Run a program as a worker for the block."""
    shop = SHOP if "square" not in program else SHOP.replace('@tasks.task(run_in="process")\ndef square', "def square")
    (folder / "shop.py").write_text(shop)
    (folder / "service.py").write_text(program)
    with subprocess.Popen([sys.executable, "service.py"], cwd=folder, stderr=subprocess.PIPE) as service:
        try:
            yield
        finally:
            service.kill()
            assert service.stderr is not None
            service.stderr.read()  # ends with the last process of the worker


async def job_of(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Job, set[str | None]]:
    """The job, once the program has run it, and the workers that have run jobs meanwhile."""
    monkeypatch.setenv("FIFOQ_URL", f"sqlite:///{folder}/jobs.db")
    monkeypatch.setenv("FIFOQ_LEASE", "3")
    tasks = Fifoq()

    @tasks.task
    def square(n: int) -> int: ...

    @tasks.task
    async def note(n: int) -> int: ...

    async with tasks:
        with working(folder, program):
            handle = await square.enqueue(7)
            ended = await tasks.finished(handle.id, timeout=60)
            assert ended is not None
            notes: list[Any] = [await note.enqueue(n) for n in range(20)]
            await asyncio.gather(*(one.result(timeout=30) for one in notes))
            return ended, {(await one.status()).worker for one in notes}


@pytest.mark.parametrize("program", [pytest.param(text, id=name) for name, text in REFUSED.items()])
async def test_a_job_of_a_program_without_a_guard_fails_and_says_what_to_write(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, workers = await job_of(tmp_path, program, monkeypatch)
    assert job.error is not None
    assert (job.state, job.attempt, job.error.type) == ("failed", 1, "ConfigurationError")
    assert GUARD in job.error.message
    assert "service.py" in job.error.traceback
    assert len(workers) == 1


@pytest.mark.parametrize("program", [pytest.param(text, id=name) for name, text in HARMLESS.items()])
async def test_a_program_whose_import_ends_runs_its_jobs_in_one_worker(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, workers = await job_of(tmp_path, program, monkeypatch)
    assert (job.state, job.result) == ("succeeded", 49)
    assert len(workers) == 1
