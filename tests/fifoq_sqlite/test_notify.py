"""Who waits is woken: on this loop, on another, in another process; and even if every hint is lost."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fifoq.errors import JobNotFound
from fifoq.record import State
from fifoq.testing import spec
from fifoq_sqlite import SqliteBackend
from fifoq_sqlite.notify import Changes

LONG = 30.0
NEVER = 1_000
"""Seconds between two looks: only a hint can wake."""


class Waiter:
    """Another process that waits."""

    def __init__(self, process: Any) -> None:
        self._process = process

    def say(self, line: str) -> None:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self.hear() == "waiting"

    def hear(self) -> str:
        return self._process.stdout.readline().strip()


@pytest.fixture
def waiter(start: Any, url: str, backend: SqliteBackend) -> Waiter:
    return Waiter(start("wait.py", url, NEVER))


async def test_a_put_wakes_another_process(line: Any, waiter: Waiter) -> None:
    waiter.say("change")
    await line.put(spec())
    assert await asyncio.to_thread(waiter.hear) == "True"


async def test_a_settle_wakes_another_process_if_its_key_goes_on(line: Any, waiter: Waiter) -> None:
    await line.put(spec("k"), spec("k"))
    (lease,) = await line.leases()
    waiter.say("change")
    await line.succeed(lease)
    assert await asyncio.to_thread(waiter.hear) == "True"


async def test_the_end_of_a_job_wakes_another_process_that_awaits_it(line: Any, waiter: Waiter) -> None:
    await line.put(spec(id="one"), spec(id="two"))
    waiter.say("one")
    one, two = await line.leases(2)
    await line.succeed(two, retain=10**9)
    await line.succeed(one, retain=10**9)
    assert await asyncio.to_thread(waiter.hear) == "succeeded"


async def test_who_gets_no_hint_looks_for_himself(line: Any, start: Any, url: str, path: Path) -> None:
    waiter = Waiter(start("wait.py", url, 0.05))
    waiter.say("change")
    for pipe in path.with_name("jobs.db-fifoq").glob("wake-*"):
        pipe.unlink()
    await line.put(spec(id="one"))
    assert await asyncio.to_thread(waiter.hear) == "True"
    waiter.say("one")
    await line.succeed_all(*await line.leases(), retain=10**9)
    assert await asyncio.to_thread(waiter.hear) == "succeeded"


async def test_the_pipe_of_a_dead_process_is_cleared_away(line: Any, waiter: Waiter, path: Path) -> None:
    def pipes() -> set[str]:
        return {name for name in os.listdir(path.with_name("jobs.db-fifoq")) if name.startswith("wake-")}

    waiter.say("change")
    assert len(pipes()) == 2
    os.kill(waiter._process.pid, signal.SIGKILL)
    waiter._process.wait(LONG)
    for _ in range(2):  # the writing thread tidies up after one before it takes the next
        await line.put(spec())
    assert len(pipes()) == 1


async def test_a_stopped_process_holds_up_nobody(line: Any, waiter: Waiter) -> None:
    waiter.say("change")
    os.kill(waiter._process.pid, signal.SIGSTOP)
    for _ in range(40):
        # More than a pipe holds.
        await line.put(*(spec(retain=1) for _ in range(50)))
        await line.succeed_all(*await line.leases(50), retain=10**9)
    os.kill(waiter._process.pid, signal.SIGCONT)
    assert await asyncio.to_thread(waiter.hear) == "True"


async def test_a_change_before_the_wait_and_after_the_claim_is_not_missed(line: Any) -> None:
    assert await line.leases() == ()
    await line.put(spec())
    assert await line.queue.wait(LONG)


async def test_a_settle_that_opens_nothing_wakes_nobody(line: Any) -> None:
    await line.put(spec(), spec())
    (lease,) = await line.leases()
    await line.queue.wait(0)
    await line.succeed(lease)
    assert not await line.queue.wait(0.01)


async def test_many_await_many_jobs_and_each_gets_its_own(line: Any) -> None:
    ids = [f"{number}" for number in range(200)]
    await line.put(*(spec(id=id) for id in ids))
    waiting = [asyncio.ensure_future(line.queue.finished(id, LONG)) for id in ids]
    await asyncio.sleep(0)
    while leases := await line.leases(30):
        await line.succeed_all(*leases, retain=10**9)
    records = await asyncio.gather(*waiting)
    assert [(record.spec.id, record.state) for record in records] == [(id, State.SUCCEEDED) for id in ids]


async def test_a_job_that_is_removed_as_it_ends_is_not_found(line: Any) -> None:
    await line.put(spec(id="one"))
    waiting = asyncio.ensure_future(line.queue.finished("one", LONG))
    await asyncio.sleep(0)
    await line.succeed_all(*await line.leases())
    with pytest.raises(JobNotFound):
        await waiting


async def test_idle_looks_of_others_wake_nobody(line: Any, backend: SqliteBackend, line_of: Any) -> None:
    await line.put(spec())
    (lease,) = await line.leases()
    assert await line.leases() == ()
    twin = backend.twin()
    await twin.open()
    other = line_of(twin)
    waiting = asyncio.ensure_future(line.queue.wait(1.0))
    for _ in range(10):
        assert await other.leases() == ()
        await asyncio.sleep(0.05)
    assert not waiting.done()
    await line.succeed(lease)
    await twin.close()
    waiting.cancel()


def test_news_are_read_as_they_were_written() -> None:
    changes = Changes(
        {"queue", "other\u2028queue"}, [("queue", "id"), ("q", "häß lich\u2028")], {"queue": 3, "other\u2028queue": 4}
    )
    assert Changes.read(b"".join(changes.lines()).rstrip(b"\n")) == changes


def test_news_that_make_no_sense_are_passed_over() -> None:
    assert Changes.read(b"\xff\xfe\nq\ne\nw\nwx\ty\n\nw7\tq") == Changes({"q"}, [], {"q": 7})
