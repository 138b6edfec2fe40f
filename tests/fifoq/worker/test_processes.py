"""Functions in child processes: their calls and results, and the death of children."""

import asyncio
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fifoq.codec import pack
from fifoq.job import Progress
from fifoq.main_guard import GUARD
from fifoq.record import State
from fifoq.retry import Retry
from fifoq.worker import processes

CHORES = """
import multiprocessing, os, signal, subprocess, sys, threading, time
from fifoq import Fifoq
from typing import Any
from fifoq.errors import GiveUp, RetryAfter
from fifoq.task.context import Context

class Odd(ValueError):
    pass

tasks = Fifoq("memory://")

@tasks.task(run_in="process", name="registered")
def registered(n: int) -> int:
    return 2 * n

def add(a: int, b: int) -> list[int]:
    return [a + b, os.getpid()]

def die() -> None:
    os._exit(7)

def sleep(path: str) -> None:
    open(path, "a").close()
    time.sleep(3600)

def fail() -> None:
    raise Odd("no luck")

def leave() -> None:
    sys.exit(3)

def give_up() -> None:
    raise GiveUp("no use")

def give_up_badly() -> None:
    raise GiveUp("no \\udce9")

def later() -> None:
    raise RetryAfter(0.001)

def unsendable() -> Any:
    return object()

def look(ctx: Context, path: str) -> list[Any]:
    ctx.progress(1, 2, "half")
    while not os.path.exists(path):
        time.sleep(0.005)
    return [ctx.attempt, ctx.fence, ctx.meta, ctx.job.id, ctx.job.key, ctx.job.worker, ctx.cancelled, ctx.resources]

def signals(number: int) -> list[int]:
    os.kill(os.getpid(), number)
    script = "import signal; print(int(signal.getsignal(signal.SIGTERM)), flush=True); input()"
    default = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    default.stdout.readline()
    default.send_signal(number)
    forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
    forked.start()
    os.kill(forked.pid, signal.SIGTERM)
    forked.join()
    return [default.wait(), forked.exitcode]

def leave_running(how: str) -> list[int]:
    if how == "in the background of a shell":
        done = subprocess.run(["sh", "-c", "sleep 3600 >/dev/null 2>&1 & echo $!"], capture_output=True)
        return [os.getpid(), int(done.stdout)]
    if how == "forked":
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
        process.start()
        return [os.getpid(), process.pid]
    program = subprocess.Popen(["sleep", "3600"])
    if how == "by a job that fails":
        raise Odd(f"{os.getpid()} {program.pid}")
    return [os.getpid(), program.pid]

def pool(method: str) -> list[int]:
    with multiprocessing.get_context(method).Pool(2) as workers:
        return workers.map(abs, [-1, -2, -3])

def die_with_a_fork() -> None:
    if os.fork() == 0:
        time.sleep(3600)
    os._exit(7)

def report_later(ctx: Context) -> None:
    def report() -> None:
        while True:
            ctx.progress(1, 2, "of another job")
            time.sleep(0.001)
    threading.Thread(target=report, daemon=True).start()

def talk() -> None:
    print("said", end="")
    sys.stdout.write(" and done")

async def wait_a_bit(n: int) -> int:
    import asyncio
    await asyncio.sleep(0.001)
    return n
"""


@pytest.fixture
def chores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    name = f"chores_{os.getpid()}_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(CHORES)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(name)
    del sys.modules[name]


def in_process(shop: Any, function: Any, **definition: Any) -> Any:
    return shop.task(function, run_in="process", **definition)


async def test_a_function_runs_in_another_process_which_is_used_again(shop: Any, chores: Any) -> None:
    task = in_process(shop, chores.add)
    async with shop.worker(processes=1):
        results = [(await shop.ended(await shop.put(task, n, 1))).result for n in range(3)]
    assert [result[0] for result in results] == [1, 2, 3]
    pids = {result[1] for result in results}
    assert len(pids) == 1
    assert os.getpid() not in pids


async def test_there_are_no_more_children_than_the_setting_allows(shop: Any, chores: Any) -> None:
    task = in_process(shop, chores.add)
    ids = [await shop.put(task, n, 1) for n in range(20)]
    await shop.worker(processes=2).drain()
    assert len({(await shop.job(id)).result[1] for id in ids}) <= 2


async def test_the_death_of_a_child_hits_only_its_own_job(shop: Any, chores: Any) -> None:
    dies = in_process(shop, chores.die, retry=Retry(2, backoff=0.001, on=(KeyError,)))
    task = in_process(shop, chores.add)
    bad = await shop.put(dies, key="k")
    behind = await shop.put(task, 1, 1, key="k")
    others = [await shop.put(task, n, 1) for n in range(5)]
    async with shop.worker(processes=2):
        job = await shop.ended(bad)
        assert (job.state, job.attempt, job.crashes, job.error.type) == (State.FAILED, 2, 0, "ProcessDied")
        assert "exit code 7" in job.error.message
        for id in [behind, *others]:
            assert (await shop.ended(id)).attempt == 1


async def test_a_child_that_died_while_it_waited_costs_no_job_an_attempt(shop: Any, chores: Any) -> None:
    task = in_process(shop, chores.add)
    async with shop.worker(processes=1):
        _, pid = (await shop.ended(await shop.put(task, 1, 1))).result
        os.kill(pid, signal.SIGKILL)
        job = await shop.ended(await shop.put(task, 1, 1))
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


async def test_a_timeout_kills_the_child(shop: Any, chores: Any, tmp_path: Path) -> None:
    sleeps = in_process(shop, chores.sleep, timeout=0.1, retry=Retry(1))
    task = in_process(shop, chores.add)
    id = await shop.put(sleeps, str(tmp_path / "begun"))
    async with shop.worker(processes=1):
        job = await shop.ended(id)
        assert (job.state, job.error.type) == (State.FAILED, "TimeoutError")
        assert (tmp_path / "begun").exists(), "the time does not begin before the function does"
        await shop.ended(await shop.put(task, 1, 1))


async def test_a_cancel_kills_the_child(shop: Any, chores: Any, tmp_path: Path) -> None:
    id = await shop.put(in_process(shop, chores.sleep), str(tmp_path / "begun"))
    async with shop.worker(processes=1, lease=0.3):
        await shop.until((tmp_path / "begun").exists)
        await shop.backend.queue("default").cancel([id], "not wanted")
        assert (await shop.ended(id)).reason == "not wanted"


async def test_the_end_of_the_worker_kills_children_and_releases_their_jobs(
    shop: Any, chores: Any, tmp_path: Path
) -> None:
    id = await shop.put(in_process(shop, chores.sleep), str(tmp_path / "begun"))
    async with shop.worker(processes=1, grace=0.0):
        await shop.until((tmp_path / "begun").exists)
    job = await shop.job(id)
    assert (job.state, job.attempt, job.due_at) == (State.WAITING, 0, None)


async def test_errors_come_back_with_type_text_and_traceback(shop: Any, chores: Any) -> None:
    id = await shop.put(in_process(shop, chores.fail, retry=Retry(2, backoff=0.001, on=(chores.Odd,))))
    left = await shop.put(in_process(shop, chores.leave))
    async with shop.worker(processes=1):
        job = await shop.ended(id)
        assert (job.attempt, job.error.type, job.error.message) == (2, "Odd", "no luck")
        assert 'raise Odd("no luck")' in job.error.traceback
        assert "in _call" not in job.error.traceback
        job = await shop.ended(left)
        assert (job.state, job.attempt, job.error.type) == (State.FAILED, 1, "SystemExit")


async def test_retry_on_applies_to_errors_of_children_too(shop: Any, chores: Any) -> None:
    by_base = await shop.put(in_process(shop, chores.fail, name="a", retry=Retry(2, backoff=0.001, on=(ValueError,))))
    not_at_all = await shop.put(in_process(shop, chores.fail, name="b", retry=Retry(2, on=(KeyError,))))
    async with shop.worker(processes=1):
        assert (await shop.ended(by_base)).attempt == 2
        assert (await shop.ended(not_at_all)).attempt == 1


async def test_a_child_steers_its_outcome(shop: Any, chores: Any) -> None:
    gives_up = await shop.put(in_process(shop, chores.give_up))
    surrogate = await shop.put(in_process(shop, chores.give_up_badly))
    later = await shop.put(in_process(shop, chores.later, retry=Retry(3, backoff=1000.0)))
    unsendable = await shop.put(in_process(shop, chores.unsendable))
    async with shop.worker(processes=1):
        job = await shop.ended(gives_up)
        assert (job.attempt, job.error.type, job.error.message) == (1, "GiveUp", "no use")
        assert (await shop.ended(later)).attempt == 3
        job = await shop.ended(surrogate)
        assert (job.attempt, job.error.type, job.error.message) == (1, "GiveUp", "no ?")
        job = await shop.ended(unsendable)
        assert job.attempt == 1
        assert "result" in job.error.message


async def test_a_child_has_the_context_of_its_job_and_reports_progress(shop: Any, chores: Any, tmp_path: Path) -> None:
    id = await shop.put(in_process(shop, chores.look), str(tmp_path / "go"), key="k", meta=pack({"a": "b"}))
    async with shop.worker(processes=1, name="w"):
        await shop.until_job(id, lambda job: job.progress == Progress(1, 2, "half"))
        (tmp_path / "go").touch()
        assert (await shop.ended(id)).result == [1, 1, {"a": "b"}, id, "k", "w", False, None]


async def test_a_registered_task_is_found_under_its_name(shop: Any, chores: Any) -> None:
    id = await shop.put(in_process(shop, chores.registered.function), 4)
    async with shop.worker(processes=1):
        assert (await shop.ended(id)).result == 8


async def test_an_async_function_may_run_in_a_process(shop: Any, chores: Any) -> None:
    id = await shop.put(in_process(shop, chores.wait_a_bit), 5)
    async with shop.worker(processes=1):
        assert (await shop.ended(id)).result == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_end_programs_of_a_task_as_those_of_a_script_and_not_its_child(
    shop: Any, chores: Any, number: int
) -> None:
    id = await shop.put(in_process(shop, chores.signals), number)
    async with shop.worker(processes=1):
        job = await shop.ended(id, timeout=30.0)
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)
    # An interpreter ends itself by SIGINT after a KeyboardInterrupt.
    assert job.result == [-number, -signal.SIGTERM]


def is_alive(pid: int) -> bool:
    """Whether a process runs: a dead one may have no parent that reaps it."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip()[:1] not in ("", "Z")


@pytest.mark.parametrize("how", ["as it is", "in the background of a shell", "forked", "by a job that fails"])
async def test_programs_that_a_job_leaves_behind_end_with_it(shop: Any, chores: Any, how: str) -> None:
    id = await shop.put(in_process(shop, chores.leave_running, retry=Retry(1)), how)
    task = in_process(shop, chores.add)
    async with shop.worker(processes=1):
        job = await shop.ended(id)
        child, program = map(int, job.error.message.split()) if job.error else job.result
        await shop.until(lambda: not is_alive(program))
        next_job = await shop.ended(await shop.put(task, 1, 1))
        assert next_job.attempt == 1
        assert next_job.result[1] != child, "a child whose memory refers to dead programs runs no more jobs"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_a_task_in_a_process_may_start_processes_of_its_own(shop: Any, chores: Any, method: str) -> None:
    id = await shop.put(in_process(shop, chores.pool), method)
    async with shop.worker(processes=1):
        job = await shop.ended(id, timeout=60.0)
    assert (job.state, job.result) == (State.SUCCEEDED, [1, 2, 3])


async def test_a_fork_that_lives_on_does_not_hide_the_death_of_a_child(shop: Any, chores: Any) -> None:
    id = await shop.put(in_process(shop, chores.die_with_a_fork, retry=Retry(1)))
    async with shop.worker(processes=1):
        job = await shop.ended(id)
    assert (job.state, job.error.type) == (State.FAILED, "ProcessDied")
    assert "exit code 7" in job.error.message


async def test_a_thread_that_a_job_leaves_behind_does_not_report_for_the_next_one(
    shop: Any, chores: Any, tmp_path: Path
) -> None:
    await shop.put(in_process(shop, chores.report_later))
    id = await shop.put(in_process(shop, chores.look), str(tmp_path / "go"))
    async with shop.worker(processes=1, lease=0.3):
        await shop.until_job(id, lambda job: job.progress is not None)
        await asyncio.sleep(0.05)
        assert (await shop.job(id)).progress == Progress(1, 2, "half")
        (tmp_path / "go").touch()
        await shop.ended(id)


async def test_the_start_of_a_child_has_a_bound_even_without_a_timeout(
    shop: Any, chores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START_TIMEOUT", 0.001)
    id = await shop.put(in_process(shop, chores.add, retry=Retry(1)), 1, 1)
    async with shop.worker(processes=1):
        job = await shop.ended(id)
    assert (job.state, job.error.type) == (State.FAILED, "ProcessDied")
    assert GUARD in job.error.message


async def test_a_child_that_cannot_be_started_is_an_error_of_its_job_alone(
    shop: Any, chores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise BlockingIOError("no more processes")

    task = in_process(shop, chores.add, retry=Retry(1))
    async with shop.worker(processes=1):
        with monkeypatch.context() as patch:
            patch.setattr(processes, "_spawn", refuse)
            job = await shop.ended(await shop.put(task, 1, 1))
            assert (job.state, job.error.type) == (State.FAILED, "ProcessDied")
            assert "no more processes" in job.error.message
        assert (await shop.ended(await shop.put(task, 1, 1))).state is State.SUCCEEDED


async def test_the_output_of_a_job_is_written_when_it_ends(
    shop: Any, chores: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    id = await shop.put(in_process(shop, chores.talk))
    async with shop.worker(processes=1):
        await shop.ended(id)
        assert capfd.readouterr().out == "said and done"
