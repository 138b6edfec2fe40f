"""Sync calls from threads and scripts run on the loop that has the Fifoq open, or on one in a thread of its own."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from fifoq import Fifoq, InvalidArguments, State
from fifoq.errors import ConfigurationError
from fifoq_memory import MemoryBackend
from tests.fifoq.conftest import make


async def test_a_thread_hops_to_the_loop_that_opened_it(tasks: Fifoq) -> None:
    append = tasks.tasks["append"]

    def in_thread() -> None:
        handle = append.enqueue_sync("k", 1)
        assert handle.status_sync().state is State.WAITING
        assert tasks.get_sync(handle.id).id == handle.id
        assert [job.id for job in tasks.jobs_sync()] == [handle.id]
        assert [job.id for job in tasks.find_sync(queue="lines")] == [handle.id]
        assert [job and job.id for job in tasks.get_many_sync([handle.id], queue="lines")] == [handle.id]
        assert tasks.finished_sync(handle.id, timeout=0) is None
        assert tasks.run_sync(lambda: tasks.get(handle.id)).id == handle.id
        many = tasks.enqueue_many_sync([append.bind("k", 2), append.bind("k", 3)])
        assert [each.created for each in many] == [True, True]
        tasks.pause_sync("lines", key="k")
        assert [key.key for key in tasks.blocked_keys_sync()] == ["k"]
        tasks.resume_sync("lines", key="k")
        assert tasks.cancel_sync(many[0].id)
        assert many[1].cancel_sync()
        assert not tasks.requeue_sync(handle.id)
        assert not tasks.skip_sync(handle.id)
        assert tasks.stats_sync()["lines"].waiting == 1
        with pytest.raises(InvalidArguments):
            append.enqueue_sync()

    async with tasks:
        await asyncio.to_thread(in_thread)
        async with tasks.worker():
            assert await asyncio.to_thread(lambda: append.call_sync("k", 7)) == 7
            handle = await append.enqueue("k", 8)
            assert await asyncio.to_thread(lambda: handle.result_sync(30)) == 8


async def test_closing_waits_for_calls_from_threads() -> None:
    happened: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryBackend):
        async def queues(self) -> tuple[str, ...]:
            begun.set()
            await go_on.wait()
            happened.append("looked")
            return ()

        async def check(self) -> tuple[str, ...]:
            return await self.queues()

        async def close(self) -> None:
            happened.append("closed")

    tasks = make()
    tasks._connection._make = Slow
    async with tasks:
        look = asyncio.create_task(asyncio.to_thread(lambda: tasks._connection.run(tasks.check)))
        await begun.wait()
        asyncio.get_running_loop().call_later(0.01, go_on.set)
    assert happened == ["looked", "closed"]
    assert await look == ()


async def test_a_sync_call_on_the_loops_own_thread_raises(tasks: Fifoq) -> None:
    async with tasks:
        for call in (lambda: tasks.tasks["double"].enqueue_sync(1), tasks.stats_sync):
            with pytest.raises(ConfigurationError, match="Use the form without _sync"):
                call()


def test_a_script_without_a_loop_enqueues_and_an_app_opens_it_afterwards(tasks: Fifoq) -> None:
    double = tasks.tasks["double"]
    assert double.enqueue_sync(1).created
    assert double.enqueue_sync(2).created

    async def app() -> None:
        async with tasks:
            assert (await tasks.stats())["default"].waiting == 2
            await asyncio.to_thread(lambda: double.enqueue_sync(3))
            await tasks.worker().drain()

    asyncio.run(app())
    assert tasks.stats_sync()["default"].succeeded == 3
    asyncio.run(app_again(tasks))


async def app_again(tasks: Fifoq) -> None:
    async with tasks:
        assert (await tasks.stats())["default"].succeeded == 3


def test_sync_calls_of_many_threads_while_an_app_opens_and_closes_are_all_done(tasks: Fifoq) -> None:
    append = tasks.tasks["append"]
    errors: list[BaseException] = []

    def enqueue(thread: int) -> None:
        for n in range(30):
            try:
                append.enqueue_sync(f"k{thread}", n)
            except BaseException as error:
                errors.append(error)

    async def app() -> None:
        async with tasks:
            await append.enqueue("main")

    threads = [threading.Thread(target=enqueue, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        asyncio.run(app())
    for thread in threads:
        thread.join()
    assert errors == []
    assert tasks.stats_sync()["lines"].waiting == 125


async def test_a_sync_task_may_enqueue(tasks: Fifoq) -> None:
    double = tasks.tasks["double"]

    @tasks.task
    def outer(n: int) -> int:
        return double.call_sync(n) + 1

    async with tasks, tasks.worker():
        assert await outer.call(3) == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_use_its_parents_opening(tasks: Fifoq) -> None:
    double = tasks.tasks["double"]
    double.enqueue_sync(1)
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            double.enqueue_sync(2)
            os._exit(0 if tasks.stats_sync()["default"].waiting == 2 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert tasks.stats_sync()["default"].waiting == 1


SCRIPT = """
import sys, threading
from fifoq import Fifoq
from fifoq_memory import MemoryBackend

class WithThread(MemoryBackend):
    async def open(self):
        self.done = threading.Event()
        threading.Thread(target=self.done.wait).start()
    async def close(self):
        self.done.set()

tasks = Fifoq("memory://")
tasks._connection._make = WithThread
task = tasks.task(name="t")(lambda: None)
print(task.enqueue_sync().created, flush=True)
"""


def test_a_script_ends_although_its_backend_has_threads() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
