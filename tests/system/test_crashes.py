"""One job that kills its process, and thirty beside it: they succeed, on each store that processes share."""

import asyncio
import sys
from pathlib import Path

import pytest

from fifoq import Fifoq

PROGRAM = """
import asyncio, os, signal, sys
from fifoq import Fifoq

tasks = Fifoq(lease=1.0, grace=0.5)

@tasks.task
async def killer(way: str) -> None:
    await asyncio.sleep(0.1)
    match way:
        case "kill": os.kill(os.getpid(), signal.SIGKILL)
        case "abort": os.abort()
    async with asyncio.TaskGroup() as group:
        group.create_task(leave())

async def leave() -> None:
    sys.exit(1)

@tasks.task
async def innocent(n: int) -> int:
    await asyncio.sleep(0.2)
    return n

if __name__ == "__main__":
    asyncio.run(tasks.worker(concurrency=100).drain())
"""


@pytest.mark.parametrize("url", ["sqlite", "redis"], indirect=True)
@pytest.mark.parametrize("way", ["kill", "abort", "exit"])
async def test_one_job_that_kills_its_process_fails_alone(
    url: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIFOQ_URL", url)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    tasks = Fifoq()

    @tasks.task(name="killer")
    async def killer(way: str) -> None: ...

    @tasks.task(name="innocent")
    async def innocent(n: int) -> int: ...

    async with tasks:
        first = await innocent.enqueue(-1)
        bad = await killer.enqueue(way)
        jobs = [first, *await tasks.enqueue_many([innocent.bind(n) for n in range(30)])]
        deaths = 0
        while await worker_dies(program):
            deaths += 1
            assert deaths <= 3
        assert [await job.result(0) for job in jobs] == list(range(-1, 30))
        assert max([(await job.status()).crashes for job in jobs]) <= 1
        failed = await bad.status()
    assert failed.error is not None
    assert (failed.state.value, deaths, failed.error.type) == (
        ("failed", 0, "BaseExceptionGroup") if way == "exit" else ("failed", 3, "TooManyCrashes")
    )


async def worker_dies(program: Path) -> bool:
    """Run a worker until it has drained its queue, or died."""
    process = await asyncio.create_subprocess_exec(sys.executable, program, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait() != 0
