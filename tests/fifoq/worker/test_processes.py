"""Functions in child processes: their calls and results, and the death of children."""

import asyncio
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fifoq.codec import pack
from fifoq.errors import ConfigurationError
from fifoq.job import Progress
from fifoq.record import State
from fifoq.retry import Retry

CHORES = """
import os, sys, time
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
    assert multiprocessing.active_children() == []


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
        await shop.until(lambda: not any(child.is_alive() for child in multiprocessing.active_children()))
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
    assert multiprocessing.active_children() == []


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


async def test_a_function_that_no_child_could_find_is_refused_at_the_start(shop: Any) -> None:
    def local() -> None: ...

    in_process(shop, local)
    with pytest.raises(ConfigurationError, match="local"):
        async with shop.worker():
            await asyncio.sleep(0)
