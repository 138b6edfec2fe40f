"""The life of a child process: whenever and however it is stopped, nothing of it is left, of any generation."""

import asyncio
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fifoq.calls import Caller
from fifoq.queue import Extension
from fifoq.record import State
from fifoq.retry import Retry
from fifoq.worker import processes

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="the tests find processes by /proc")

CHORES = """
import multiprocessing, os, re, signal, subprocess, sys, threading, time
from pathlib import Path

FOLDER = Path(__file__).parent

def begun(*pids):
    (FOLDER / "begun").write_text(" ".join(map(str, pids)))

if os.environ.get("MOMENT") == "importing" and multiprocessing.current_process().name == "fifoq-child":
    begun()
    time.sleep(3600)

def spawned() -> None: ...

def importing() -> None: ...

def importing_the_program() -> None: ...

def running() -> None:
    begun()
    time.sleep(3600)

def holding_the_interpreter() -> None:
    begun()
    re.match(r"(a+)+$", "a" * 60 + "b")

def talking(ctx) -> None:
    begun()
    for number in range(10**9):
        ctx.progress(number, None, "x" * 100)

def waiting_for_programs() -> None:
    program = subprocess.Popen(["sh", "-c", "sleep 3600 & sleep 3600 | sleep 3600"])
    begun()
    program.wait()

def with_children_of_its_own() -> None:
    forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
    spawned = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(3600,))
    forked.start()
    spawned.start()
    begun()
    spawned.join()

def idle(pid: bool = False) -> int:
    return os.getpid()
"""

SITE = """
import os, pathlib, sys, time
if os.environ.get("MOMENT") == "spawned" and "--multiprocessing-fork" in sys.argv:
    (pathlib.Path(__file__).parent / "begun").touch()
    time.sleep(3600)
"""

STARTING = ["spawned", "importing"]
WORKING = ["running", "holding_the_interpreter", "talking", "waiting_for_programs", "with_children_of_its_own"]
MARK = "FIFOQ_TEST_FAMILY"


class Family:
    """All processes that a test has started, and those that they have started, by a mark in their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"{MARK}={folder}".encode()

    def alive(self) -> list[str]:
        found: list[str] = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes().split(b"\0")
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            # The tracker of `multiprocessing` belongs to the process of the tests, and ends with it.
            if self.mark in environment and "resource_tracker" not in command:
                found.append(f"{process.name}: {command}")
        return found

    def begun(self) -> bool:
        return (self.folder / "begun").exists()


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Family]:
    monkeypatch.setenv(MARK, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    (tmp_path / "sitecustomize.py").write_text(SITE)
    family = Family(tmp_path)
    yield family
    for line in family.alive():
        os.kill(int(line.split(":")[0]), signal.SIGKILL)


@pytest.fixture
def chores(family: Family, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    name = f"chores_{os.getpid()}_{abs(hash(family.folder))}"
    (family.folder / f"{name}.py").write_text(CHORES)
    monkeypatch.syspath_prepend(family.folder)
    yield importlib.import_module(name)
    del sys.modules[name]


@pytest.fixture
def lasting(shop: Any, chores: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a task for a moment of a child's life, at which the child stays."""

    def make(moment: str, **definition: Any) -> Any:
        monkeypatch.setenv("MOMENT", moment)
        return shop.task(getattr(chores, moment), run_in="process", retry=Retry(1), **definition)

    return make


@pytest.mark.parametrize("moment", STARTING + WORKING)
async def test_a_timeout_ends_the_job_and_all_its_processes(
    shop: Any, lasting: Any, family: Family, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if moment in STARTING:
        monkeypatch.setattr(processes, "SHORTEST_START", 1.0)
    id = await shop.put(lasting(moment, timeout=0.5 if moment in STARTING else 2.0))
    async with shop.worker(processes=1):
        job = await shop.ended(id, timeout=30.0)
        assert (job.state, job.error.type) == (State.FAILED, "TimeoutError")
        await shop.until(lambda: not family.alive())


@pytest.mark.parametrize("moment", STARTING + WORKING)
async def test_a_cancel_ends_the_job_and_all_its_processes(
    shop: Any, lasting: Any, family: Family, moment: str
) -> None:
    id = await shop.put(lasting(moment))
    async with shop.worker(processes=1, lease=3.0):
        await shop.until(family.begun, timeout=30.0)
        await shop.backend.queue("default").cancel([id], "not wanted")
        assert (await shop.ended(id)).state is State.CANCELLED
        await shop.until(lambda: not family.alive())


@pytest.mark.parametrize("moment", STARTING + WORKING)
async def test_the_loss_of_the_lease_ends_all_processes(shop: Any, lasting: Any, family: Family, moment: str) -> None:
    task = lasting(moment)
    id = await shop.put(task)
    queue = shop.backend.queue("default")
    worker = shop.worker(processes=1, lease=3.0, concurrency=1)
    async with worker:
        await shop.until(family.begun, timeout=30.0)
        (run,) = worker._runtime._held.values()
        caller, taken = Caller(), list[str]()
        while not taken:  # the worker may extend the lease in between, as with each progress
            await queue.extend([Extension(id, run.lease.token, 1)])
            await asyncio.sleep(0.001)
            claimed = await caller.attempt(lambda call: queue.claim(call, "other", 1, 60_000_000, [task.name]))
            taken = [lease.spec.id for lease in claimed.leases]
        assert taken == [id]
        await shop.until(lambda: not family.alive())
        assert (await shop.job(id)).worker == "other"


@pytest.mark.parametrize("moment", STARTING + WORKING)
async def test_the_end_of_the_worker_releases_the_job_and_ends_all_processes(
    shop: Any, lasting: Any, family: Family, moment: str
) -> None:
    id = await shop.put(lasting(moment))
    async with shop.worker(processes=1, grace=0.0):
        await shop.until(family.begun, timeout=30.0)
    job = await shop.job(id)
    assert (job.state, job.attempt) == (State.WAITING, 0)
    await shop.until(lambda: not family.alive())


async def test_the_end_of_the_worker_ends_a_child_between_two_jobs(shop: Any, chores: Any, family: Family) -> None:
    task = shop.task(chores.idle, run_in="process")
    async with shop.worker(processes=1):
        await shop.ended(await shop.put(task), timeout=30.0)
        assert len(family.alive()) == 1
    await shop.until(lambda: not family.alive())


WORKER = """
import asyncio, fcntl, importlib, multiprocessing, os, sys, time
from contextlib import asynccontextmanager
from pathlib import Path
from fifoq.calls import Caller
from fifoq.codec import EMPTY_CALL
from fifoq.task.definition import TaskDefinition
from fifoq.record import JobSpec
from fifoq.task.signature import Signature
from fifoq.worker import Worker, WorkerSettings, Workplace
from fifoq_memory import MemoryBackend

if os.environ.get("PORTABLE"):
    del fcntl.F_SETSIG

BEGUN = Path(__file__).parent / "begun"
if __name__ != "__main__" and os.environ["MOMENT"] == "importing_the_program":
    BEGUN.touch()
    time.sleep(3600)

async def main(module: str) -> None:
    backend = MemoryBackend("memory://")
    await backend.open()
    function = getattr(importlib.import_module(module), os.environ["MOMENT"])
    talks = os.environ["MOMENT"] == "talking"
    signature = Signature(function, takes_context=talks)
    task = TaskDefinition("task", "default", function, signature, run_in="process", takes_context=talks)

    @asynccontextmanager
    async def opening():
        yield Workplace(backend, {"default": {"task": task}}, None)

    queue = backend.queue("default")
    await Caller().attempt(lambda call: queue.put(call, [[JobSpec("1", "task", EMPTY_CALL)]]))
    async with Worker(opening, WorkerSettings(processes=1)):
        if os.environ["MOMENT"] == "idle":
            await queue.finished("1", 60.0)
            BEGUN.touch()
        while not BEGUN.exists():
            await asyncio.sleep(0.01)
        forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
        forked.start()
        print(forked.pid, flush=True)
        await asyncio.sleep(3600)

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
"""


def outlive(chores: Any, family: Family) -> None:
    """Kill a worker when its child has begun, and wait until no process of it is left."""
    script = family.folder / "service.py"
    script.write_text(WORKER)
    with subprocess.Popen([sys.executable, script, chores.__name__], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        forked = worker.stdout.readline().strip()
        assert len(family.alive()) >= 3
        worker.kill()
        end = time.monotonic() + 30.0
        while left := [line for line in family.alive() if not line.startswith(f"{forked}: ")]:
            assert time.monotonic() < end, left
            time.sleep(0.01)
        os.kill(int(forked), signal.SIGKILL)


@pytest.mark.parametrize("moment", [*STARTING, "importing_the_program", *WORKING, "idle"])
def test_no_process_outlives_a_worker_that_is_killed(
    chores: Any, family: Family, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if the worker has forked a process that lives on, with copies of all that it held open."""
    monkeypatch.setenv("MOMENT", moment)
    outlive(chores, family)


@pytest.mark.parametrize("moment", ["importing", "importing_the_program", "with_children_of_its_own", "idle"])
def test_nor_does_one_where_the_kernel_does_not_see_to_it(
    chores: Any, family: Family, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOMENT", moment)
    monkeypatch.setenv("PORTABLE", "1")
    outlive(chores, family)
