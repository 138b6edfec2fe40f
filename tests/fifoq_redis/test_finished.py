"""The end that is told without a question, to who put the job and waits for it: what it saves, and when not."""

import asyncio
from typing import Any

import pytest

from fifoq.clock import SECOND
from fifoq.errors import JobNotFound
from fifoq.limits import GateSettings
from fifoq.queue import Declare, Full
from fifoq.record import State
from fifoq_redis import pubsub
from tests.fifoq_redis.conftest import LONG, Line, Waiter, job


async def test_the_end_of_an_expected_job_is_told_without_a_call(line: Line, waiter: Waiter) -> None:
    await waiter.leave_claim()
    for id in ("a", "b"):
        waiter.queue.expect(id)
        await waiter.line.put(job(id, retain=SECOND, task="other"))
        calls = waiter.calls()
        end = asyncio.create_task(waiter.queue.finished(id, LONG))
        await line.succeed_all(*await line.leases(tasks=["other"]))
        record = await end
        assert record is not None
        assert record.state is State.SUCCEEDED
        assert waiter.calls() == calls
    assert (await line.queue.audit()).differences == ()


async def test_an_end_that_is_not_heard_is_asked_for(
    line: Line, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 0.1)
    await waiter.leave_claim()
    waiter.queue.expect("a")
    await waiter.line.put(job("a", retain=SECOND, task="other"))
    waiter.deafen(monkeypatch)
    await line.succeed_all(*await line.leases(tasks=["other"]))
    record = await waiter.queue.finished("a", LONG)
    assert record is not None
    assert record.state is State.SUCCEEDED


async def test_a_job_that_was_there_before_or_refused_is_asked_for_at_once(
    line: Line, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 2 * LONG)
    await line.put(job("a", retain=SECOND))
    await line.succeed_all(*await line.leases())
    waiter.queue.expect("a")
    await waiter.line.put(job("a", retain=SECOND))
    assert await asyncio.wait_for(waiter.queue.finished("a", LONG), LONG)
    await line.queue.configure([Declare(None, GateSettings(capacity=1))])
    waiter.queue.expect("b")
    full = await waiter.line.put_reply(job("b"), job("c"))
    assert isinstance(full, Full)
    with pytest.raises(JobNotFound):
        await asyncio.wait_for(waiter.queue.finished("b", LONG), LONG)
    assert (await line.queue.audit()).differences == ()


async def test_who_expects_jobs_and_never_comes_is_forgotten(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fifoq_redis.finished.MOST_EXPECTED", 3)
    for number in range(10):
        line.queue.expect(f"{number}")
    queue: Any = line.queue
    assert list(queue.finished_waiters._expected) == ["7", "8", "9"]
