"""Signals, in real processes."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import asyncio, signal, sys, time
from contextlib import asynccontextmanager
from fifoq.calls import Caller
from fifoq.codec import EMPTY_CALL
from fifoq.task.definition import TaskDefinition
from fifoq.record import JobSpec
from fifoq.task.signature import Signature
from fifoq.worker import Worker, WorkerSettings, Workplace
from fifoq_memory import MemoryBackend

KIND, GRACE, SECONDS = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])

async def in_loop() -> None:
    print("running", flush=True)
    await asyncio.sleep(SECONDS)

async def blocking() -> None:
    print("running", flush=True)
    time.sleep(SECONDS)

def in_thread() -> None:
    print("running", flush=True)
    time.sleep(SECONDS)

def in_process() -> None:
    print("running", flush=True)
    time.sleep(SECONDS)

RUN_IN = {"blocking": "loop", "in_loop": "loop", "in_thread": "thread", "in_process": "process"}

async def main() -> None:
    backend = MemoryBackend("memory://")
    await backend.open()
    function = globals()[KIND]
    task = TaskDefinition(KIND, "default", function, Signature(function), run_in=RUN_IN[KIND])

    @asynccontextmanager
    async def opening():
        if KIND == "in_loop" and GRACE == 99.0:
            print("running", flush=True)
            await asyncio.sleep(3600)
        yield Workplace(backend, {"default": {KIND: task}}, None)

    queue = backend.queue("default")
    await Caller().attempt(lambda call: queue.put(call, [[JobSpec("1", KIND, EMPTY_CALL)]]))
    before = signal.getsignal(signal.SIGTERM)
    await Worker(opening, WorkerSettings(grace=GRACE)).run()
    assert signal.getsignal(signal.SIGTERM) is before
    (job,) = await queue.get(["1"])
    print(job.state.value, job.attempt, flush=True)

if __name__ == "__main__":
    asyncio.run(main())
"""


def start(tmp_path: Path, kind: str, grace: float, seconds: float) -> subprocess.Popen[str]:
    script = tmp_path / "service.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), kind, str(grace), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "running"
    return process


def end(process: subprocess.Popen[str], timeout: float = 20.0) -> str:
    with process:
        try:
            out, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
    assert process.returncode == 0, out
    return out.strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_jobs_finish(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "in_loop", 30.0, 0.5)
    process.send_signal(number)
    assert end(process) == "succeeded 1"


@pytest.mark.parametrize("kind", ["in_loop", "in_thread", "in_process"])
def test_jobs_are_released_after_the_grace_and_the_process_ends(tmp_path: Path, kind: str) -> None:
    process = start(tmp_path, kind, 0.2, 3600.0)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert end(process) == "waiting 0"
    assert (
        time.monotonic() - begun < 0.2 + 4.0
    )  # a second, and the time that a busy machine takes to end an interpreter


@pytest.mark.parametrize("kind", ["in_loop", "in_thread", "in_process"])
def test_the_second_signal_releases_and_ends_at_once(tmp_path: Path, kind: str) -> None:
    process = start(tmp_path, kind, 3600.0, 3600.0)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert end(process) == "waiting 0"


def test_the_third_signal_ends_even_a_process_whose_loop_is_blocked(tmp_path: Path) -> None:
    with start(tmp_path, "blocking", 3600.0, 3600.0) as process:
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10.0) == -signal.SIGTERM


def test_a_signal_while_the_worker_opens_is_an_orderly_end(tmp_path: Path) -> None:
    process = start(tmp_path, "in_loop", 99.0, 0.0)
    process.send_signal(signal.SIGTERM)
    assert end(process) == "waiting 0"


def test_children_end_when_their_worker_is_killed(tmp_path: Path) -> None:
    with start(tmp_path, "in_process", 30.0, 3600.0) as process:
        children = [
            int(child)
            for task in Path(f"/proc/{process.pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
        assert children
        process.kill()
    until = time.monotonic() + 10.0
    while any(_runs(child) for child in children):
        assert time.monotonic() < until, "a child outlives its worker"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_outside_the_main_thread_a_worker_runs_without_signals(shop: Any) -> None:
    async def quick() -> None: ...

    shop.task(quick)

    async def run_briefly() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(shop.worker().run(), 0.1)

    thread = threading.Thread(target=lambda: asyncio.run(run_briefly()))
    thread.start()
    await asyncio.to_thread(thread.join)
