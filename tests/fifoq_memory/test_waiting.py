"""Who waits is woken: on this loop or another, for what came before the loop got to it, and for the end of a job."""

import asyncio
import threading
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from fifoq.errors import JobNotFound
from fifoq.limits import GateSettings
from fifoq.queue import Call, Declare
from fifoq.record import JobSpec, Record, Retry, Settlement, State, Succeed
from fifoq.testing import ManualClock, spec
from fifoq_memory import MemoryBackend
from fifoq_memory.queue import MemoryQueue

LONG = 30.0
"""Seconds: a waiter that is not woken fails the test instead of hanging it."""


class Line:
    """A queue with numbered calls."""

    def __init__(self, queue: MemoryQueue) -> None:
        self.queue = queue
        self._caller, self._number = uuid4().hex, 0

    def call(self) -> Call:
        self._number += 1
        return Call(self._caller, self._number)

    async def put(self, *specs: JobSpec) -> None:
        await self.queue.put(self.call(), [specs])

    async def claim(self, n: int = 1) -> list[Settlement]:
        claimed = await self.queue.claim(self.call(), "worker", n, 15_000_000, ["task"])
        return [Settlement(lease.spec.id, lease.token, Succeed(b"", 0)) for lease in claimed.leases]

    async def settle(self, *settlements: Settlement) -> None:
        await self.queue.settle(self.call(), settlements)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line(MemoryBackend("memory://", clock=ManualClock()).queue("queue"))
    yield line
    assert (await line.queue.audit()).differences == ()
    assert not line.queue._wake_up.waiters, "a waiter was left behind"
    assert not line.queue._waiters, "a watcher was left behind"
    assert not line.queue._state.awaited, "an id is still watched"


async def test_a_put_ends_a_wait(line: Line) -> None:
    waiting = asyncio.create_task(line.queue.wait(LONG))
    await asyncio.sleep(0)
    await line.put(spec())
    assert await waiting is True


async def test_a_wait_begins_when_it_is_called_not_when_the_loop_gets_to_it(line: Line) -> None:
    waiting = line.queue.wait(LONG)
    await line.put(spec())
    assert await waiting is True


async def test_a_wait_for_nothing_ends_with_its_time(line: Line) -> None:
    await line.put(spec())
    assert await line.queue.wait(0.01) is False


async def test_a_job_that_backs_off_behind_an_earlier_timer_ends_no_wait(line: Line) -> None:
    await line.put(spec("k"), spec("k"), spec(delay=1))
    (held,) = await line.claim(5)
    waiting = line.queue.wait(0.01)
    await line.settle(held._replace(outcome=Retry(5_000_000, b"", 0)))
    await line.put(spec("k"))
    assert await waiting is False


async def test_the_end_of_a_lease_at_a_full_gate_ends_a_wait(line: Line) -> None:
    await line.queue.configure([Declare("task", GateSettings(limit=1))])
    await line.put(spec(), spec())
    (held,) = await line.claim(5)
    waiting = line.queue.wait(LONG)
    await line.settle(held)
    assert await waiting is True


async def test_a_wider_gate_ends_a_wait(line: Line) -> None:
    waiting = line.queue.wait(LONG)
    await line.queue.configure([Declare("task", GateSettings(limit=2))])
    assert await waiting is True


async def test_every_waiter_is_woken_on_every_loop(line: Line) -> None:
    ready, woken = threading.Barrier(4), list[bool]()

    def wait_elsewhere() -> None:
        async def wait() -> bool:
            waiting = line.queue.wait(LONG)
            ready.wait(LONG)
            return await waiting

        woken.append(asyncio.run(wait()))

    threads = [threading.Thread(target=wait_elsewhere) for _ in range(3)]
    for thread in threads:
        thread.start()
    here = [asyncio.create_task(line.queue.wait(LONG)) for _ in range(3)]
    await asyncio.to_thread(ready.wait, LONG)
    await line.put(spec())
    assert await asyncio.gather(*here) == [True] * 3
    for thread in threads:
        await asyncio.to_thread(thread.join, LONG)
    assert woken == [True] * 3


async def test_a_waiter_whose_loop_is_gone_harms_nobody(line: Line) -> None:
    kept = list[asyncio.Task[bool]]()

    def begin_and_go() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # It would tell of the task that is destroyed while it waits.
        kept.append(loop.create_task(line.queue.wait(LONG)))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    await asyncio.to_thread(begin_and_go)
    here = line.queue.wait(LONG)
    assert len(line.queue._wake_up.waiters) == 1
    await line.put(spec())
    assert await here is True
    assert not line.queue._wake_up.waiters


async def test_an_abandoned_wait_may_end_in_the_middle_of_another_call(line: Line) -> None:
    """As when the garbage collector comes upon it there."""
    waiting = line.queue.wait(LONG)
    waiting.send(None)
    with line.queue._lock:
        waiting.close()


async def test_a_cancelled_wait_leaves_nothing_behind(line: Line) -> None:
    await line.put(spec(id="a"))
    for waiting in (line.queue.wait(LONG), line.queue.finished("a", LONG)):
        task = asyncio.ensure_future(waiting)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_end_of_a_job_that_is_not_kept_is_seen(line: Line) -> None:
    await line.put(spec(id="a"))
    waiting = [asyncio.create_task(line.queue.finished("a", LONG)) for _ in range(2)]
    await asyncio.sleep(0)
    await line.settle(*await line.claim())
    for record in await asyncio.gather(*waiting):
        assert isinstance(record, Record)
        assert (record.state, record.result) == (State.SUCCEEDED, b"")
    with pytest.raises(JobNotFound):
        await line.queue.finished("a", 0)


async def test_the_end_is_seen_on_another_loop(line: Line) -> None:
    await line.put(spec(id="a"))
    watched = threading.Event()
    seen = list[Record | None]()

    def watch_elsewhere() -> None:
        async def watch() -> Record | None:
            task = asyncio.create_task(line.queue.finished("a", LONG))
            await asyncio.sleep(0)
            watched.set()
            return await task

        seen.append(asyncio.run(watch()))

    thread = threading.Thread(target=watch_elsewhere)
    thread.start()
    await asyncio.to_thread(watched.wait, LONG)
    await line.queue.cancel(["a"], "asked")
    await asyncio.to_thread(thread.join, LONG)
    assert [record and record.state for record in seen] == [State.CANCELLED]


async def test_a_wait_for_an_end_ends_with_its_time(line: Line) -> None:
    await line.put(spec(id="a"))
    assert await line.queue.finished("a", 0.01) is None


async def test_one_who_gives_up_does_not_stop_the_others(line: Line) -> None:
    await line.put(spec(id="a"))
    patient = asyncio.create_task(line.queue.finished("a", LONG))
    assert await line.queue.finished("a", 0.01) is None
    await line.queue.cancel(["a"], "asked")
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
