"""Waiters are woken: on this loop, on another, in another process; and even if every notification is lost."""

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
"""Seconds between two polls: only a notification can wake."""


class WaitingProcess:
    """Another process that waits for changes or for the end of a job: `programs/wait.py`."""

    def __init__(self, process: Any) -> None:
        self.process = process

    def wait_for(self, target: str) -> None:
        self.process.stdin.write(target + "\n")
        self.process.stdin.flush()
        assert self.read() == "waiting"

    def read(self) -> str:
        return self.process.stdout.readline().strip()


@pytest.fixture
def process(start: Any, url: str, backend: SqliteBackend) -> WaitingProcess:
    return WaitingProcess(start("wait", url, NEVER))


async def test_a_put_wakes_another_process(driver: Any, process: WaitingProcess) -> None:
    process.wait_for("change")
    await driver.put(spec())
    assert await asyncio.to_thread(process.read) == "True"


async def test_a_settle_wakes_another_process_if_its_key_goes_on(driver: Any, process: WaitingProcess) -> None:
    await driver.put(spec("k"), spec("k"))
    (lease,) = await driver.leases()
    process.wait_for("change")
    await driver.succeed(lease)
    assert await asyncio.to_thread(process.read) == "True"


async def test_the_end_of_a_job_wakes_another_process_that_awaits_it(driver: Any, process: WaitingProcess) -> None:
    await driver.put(spec(id="one"), spec(id="two"))
    process.wait_for("one")
    one, two = await driver.leases(2)
    await driver.succeed(two, retain=10**9)
    await driver.succeed(one, retain=10**9)
    assert await asyncio.to_thread(process.read) == "succeeded"


async def test_a_waiter_that_gets_no_notification_polls(driver: Any, start: Any, url: str, path: Path) -> None:
    process = WaitingProcess(start("wait", url, 0.05))
    process.wait_for("change")
    for pipe in path.with_name("jobs.db-fifoq").glob("wake-*"):
        pipe.unlink()
    await driver.put(spec(id="one"))
    assert await asyncio.to_thread(process.read) == "True"
    process.wait_for("one")
    await driver.succeed_all(*await driver.leases(), retain=10**9)
    assert await asyncio.to_thread(process.read) == "succeeded"


async def test_the_pipe_of_a_dead_process_is_cleared_away(driver: Any, process: WaitingProcess, path: Path) -> None:
    def pipes() -> set[str]:
        return {name for name in os.listdir(path.with_name("jobs.db-fifoq")) if name.startswith("wake-")}

    process.wait_for("change")
    assert len(pipes()) == 2
    os.kill(process.process.pid, signal.SIGKILL)
    process.process.wait(LONG)
    for _ in range(2):  # the writing thread tidies up after one before it takes the next
        await driver.put(spec())
    assert len(pipes()) == 1


async def test_a_stopped_process_delays_no_other(driver: Any, process: WaitingProcess) -> None:
    process.wait_for("change")
    os.kill(process.process.pid, signal.SIGSTOP)
    for _ in range(40):
        # More lines than a pipe holds.
        await driver.put(*(spec(retain=1) for _ in range(50)))
        await driver.succeed_all(*await driver.leases(50), retain=10**9)
    os.kill(process.process.pid, signal.SIGCONT)
    assert await asyncio.to_thread(process.read) == "True"


async def test_a_change_before_the_wait_and_after_the_claim_is_not_missed(driver: Any) -> None:
    assert await driver.leases() == ()
    await driver.put(spec())
    assert await driver.queue.wait(LONG)


async def test_a_settle_that_opens_nothing_wakes_no_waiter(driver: Any) -> None:
    await driver.put(spec(), spec())
    (lease,) = await driver.leases()
    await driver.queue.wait(0)
    await driver.succeed(lease)
    assert not await driver.queue.wait(0.01)


async def test_many_waiters_await_many_jobs_and_each_gets_its_own(driver: Any) -> None:
    ids = [f"{number}" for number in range(200)]
    await driver.put(*(spec(id=id) for id in ids))
    waiting = [asyncio.ensure_future(driver.queue.finished(id, LONG)) for id in ids]
    await asyncio.sleep(0)
    while leases := await driver.leases(30):
        await driver.succeed_all(*leases, retain=10**9)
    records = await asyncio.gather(*waiting)
    assert [(record.spec.id, record.state) for record in records] == [(id, State.SUCCEEDED) for id in ids]


async def test_a_job_that_is_removed_as_it_ends_is_not_found(driver: Any) -> None:
    await driver.put(spec(id="one"))
    waiting = asyncio.ensure_future(driver.queue.finished("one", LONG))
    await asyncio.sleep(0)
    await driver.succeed_all(*await driver.leases())
    with pytest.raises(JobNotFound):
        await waiting


async def test_empty_claims_of_other_backends_wake_no_waiter(
    driver: Any, backend: SqliteBackend, driver_of: Any
) -> None:
    await driver.put(spec())
    (lease,) = await driver.leases()
    assert await driver.leases() == ()
    twin = backend.twin()
    await twin.open()
    other = driver_of(twin)
    waiting = asyncio.ensure_future(driver.queue.wait(1.0))
    for _ in range(10):
        assert await other.leases() == ()
        await asyncio.sleep(0.05)
    assert not waiting.done()
    await driver.succeed(lease)
    await twin.close()
    waiting.cancel()


def test_changes_are_read_as_they_were_written() -> None:
    changes = Changes(
        {"queue", "other\u2028queue"}, [("queue", "id"), ("q", "häß lich\u2028")], {"queue": 3, "other\u2028queue": 4}
    )
    assert Changes.read(b"".join(changes.lines()).rstrip(b"\n")) == changes


def test_malformed_lines_are_ignored() -> None:
    assert Changes.read(b"\xff\xfe\nq\ne\nw\nwx\ty\n\nw7\tq") == Changes({"q"}, [], {"q": 7})
