"""Waiters are woken: on this loop or another, by a change before the loop first runs them, and by the end of a job."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from fifoq.errors import JobNotFound
from fifoq.limits import GateSettings
from fifoq.queue import Call, Declare
from fifoq.record import Record, State
from fifoq.testing import AsyncDriver, ManualClock, spec
from fifoq_memory import MemoryBackend
from fifoq_memory.queue import MemoryQueue

LONG = 30.0
"""Seconds: a waiter that is not woken fails the test instead of hanging it."""


@pytest.fixture
async def queue() -> AsyncIterator[MemoryQueue]:
    queue = MemoryBackend("memory://", clock=ManualClock()).queue("queue")
    yield queue
    assert (await queue.audit()).differences == ()
    assert not queue._wake_up.waiters, "a waiter was left behind"
    assert not queue._waiters, "a waiter for the end of a job was left behind"
    assert not queue._state.awaited, "an id is still awaited"


@pytest.fixture
def driver(queue: MemoryQueue) -> AsyncDriver:
    return AsyncDriver(queue, retain=0)


async def test_a_put_ends_a_wait(driver: AsyncDriver) -> None:
    waiting = asyncio.create_task(driver.queue.wait(LONG))
    await asyncio.sleep(0)
    await driver.put(spec())
    assert await waiting is True


async def test_a_wait_begins_when_it_is_called_not_when_the_loop_runs_it(driver: AsyncDriver) -> None:
    waiting = driver.queue.wait(LONG)
    await driver.put(spec())
    assert await waiting is True


async def test_a_wait_for_nothing_ends_with_its_time(driver: AsyncDriver) -> None:
    await driver.put(spec())
    assert await driver.queue.wait(0.01) is False


async def test_a_job_that_backs_off_behind_an_earlier_timer_ends_no_wait(driver: AsyncDriver) -> None:
    await driver.put(spec("k"), spec("k"), spec(delay=1))
    (held,) = await driver.leases(5)
    waiting = driver.queue.wait(0.01)
    await driver.retry(held, after=5)
    await driver.put(spec("k"))
    assert await waiting is False


async def test_the_end_of_a_lease_at_a_full_gate_ends_a_wait(driver: AsyncDriver) -> None:
    await driver.queue.configure([Declare("task", GateSettings(limit=1))])
    await driver.put(spec(), spec())
    (held,) = await driver.leases(5)
    waiting = driver.queue.wait(LONG)
    await driver.succeed(held)
    assert await waiting is True


async def test_a_wider_gate_ends_a_wait(driver: AsyncDriver) -> None:
    waiting = driver.queue.wait(LONG)
    await driver.queue.configure([Declare("task", GateSettings(limit=2))])
    assert await waiting is True


async def test_every_waiter_is_woken_on_every_loop(driver: AsyncDriver) -> None:
    ready, woken = threading.Barrier(4), list[bool]()

    def wait_elsewhere() -> None:
        async def wait() -> bool:
            waiting = driver.queue.wait(LONG)
            ready.wait(LONG)
            return await waiting

        woken.append(asyncio.run(wait()))

    threads = [threading.Thread(target=wait_elsewhere) for _ in range(3)]
    for thread in threads:
        thread.start()
    here = [asyncio.create_task(driver.queue.wait(LONG)) for _ in range(3)]
    await asyncio.to_thread(ready.wait, LONG)
    await driver.put(spec())
    assert await asyncio.gather(*here) == [True] * 3
    for thread in threads:
        await asyncio.to_thread(thread.join, LONG)
    assert woken == [True] * 3


async def test_a_waiter_whose_loop_is_closed_leaves_the_others_alone(queue: MemoryQueue, driver: AsyncDriver) -> None:
    kept = list[asyncio.Task[bool]]()

    def begin_and_go() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # It would log the task that is destroyed while it waits.
        kept.append(loop.create_task(driver.queue.wait(LONG)))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    await asyncio.to_thread(begin_and_go)
    here = driver.queue.wait(LONG)
    assert len(queue._wake_up.waiters) == 1
    await driver.put(spec())
    assert await here is True
    assert not queue._wake_up.waiters


async def test_an_abandoned_wait_may_end_in_the_middle_of_another_call(queue: MemoryQueue) -> None:
    """As if the garbage collector closed it there."""
    waiting = queue.wait(LONG)
    waiting.send(None)
    with queue._lock:
        waiting.close()


async def test_a_cancelled_wait_leaves_nothing_behind(driver: AsyncDriver) -> None:
    await driver.put(spec(id="a"))
    for waiting in (driver.queue.wait(LONG), driver.queue.finished("a", LONG)):
        task = asyncio.ensure_future(waiting)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_end_of_a_job_that_is_not_kept_is_seen(driver: AsyncDriver) -> None:
    await driver.put(spec(id="a"))
    waiting = [asyncio.create_task(driver.queue.finished("a", LONG)) for _ in range(2)]
    await asyncio.sleep(0)
    await driver.succeed(await driver.lease())
    for record in await asyncio.gather(*waiting):
        assert isinstance(record, Record)
        assert (record.state, record.result) == (State.SUCCEEDED, b"result")
    with pytest.raises(JobNotFound):
        await driver.queue.finished("a", 0)


async def test_the_end_is_seen_on_another_loop(driver: AsyncDriver) -> None:
    await driver.put(spec(id="a"))
    watched = threading.Event()
    seen = list[Record | None]()

    def watch_elsewhere() -> None:
        async def watch() -> Record | None:
            task = asyncio.create_task(driver.queue.finished("a", LONG))
            await asyncio.sleep(0)
            watched.set()
            return await task

        seen.append(asyncio.run(watch()))

    thread = threading.Thread(target=watch_elsewhere)
    thread.start()
    await asyncio.to_thread(watched.wait, LONG)
    await driver.queue.cancel(["a"], "asked")
    await asyncio.to_thread(thread.join, LONG)
    assert [record and record.state for record in seen] == [State.CANCELLED]


async def test_a_wait_for_an_end_ends_with_its_time(driver: AsyncDriver) -> None:
    await driver.put(spec(id="a"))
    assert await driver.queue.finished("a", 0.01) is None


async def test_a_waiter_that_gives_up_does_not_stop_the_others(driver: AsyncDriver) -> None:
    await driver.put(spec(id="a"))
    patient = asyncio.create_task(driver.queue.finished("a", LONG))
    assert await driver.queue.finished("a", 0.01) is None
    await driver.queue.cancel(["a"], "asked")
    record = await patient
    assert record is not None
    assert record.reason == "asked"


def test_a_call_may_be_made_where_no_loop_runs() -> None:
    queue = MemoryBackend("memory://").queue("queue")
    waiting = asyncio.new_event_loop()
    task = waiting.create_task(queue.wait(LONG))
    waiting.run_until_complete(asyncio.sleep(0))
    with pytest.raises(StopIteration):
        queue.put(Call("caller", 1), [[spec()]]).send(None)
    assert waiting.run_until_complete(task) is True
    waiting.close()


@pytest.mark.parametrize("others", [("absent",), ("absent", "missing")])
async def test_a_claim_of_other_tasks_takes_no_notification_from_a_waiter(
    driver: AsyncDriver, others: tuple[str, ...]
) -> None:
    """A worker settles and claims in one turn; the job that its settle makes claimable is of a task that it lacks."""
    await driver.put(spec("k", task="mine"), spec("k", task="theirs"))
    (lease,) = await driver.leases(tasks=["mine"])
    waiting = asyncio.create_task(driver.queue.wait(LONG))
    await asyncio.sleep(0)
    _, claimed = await asyncio.gather(driver.succeed(lease), driver.claim(5, tasks=["mine", *others]))
    assert claimed == []
    assert await waiting is True


async def test_a_claim_that_takes_all_leaves_nothing_to_notify(driver: AsyncDriver) -> None:
    await driver.put(spec("k"), spec("k"))
    (lease,) = await driver.leases()
    waiting = asyncio.create_task(driver.queue.wait(0.05))
    await asyncio.sleep(0)
    _, claimed = await asyncio.gather(driver.succeed(lease), driver.claim(5))
    assert len(claimed) == 1
    assert await waiting is False
