"""One line of jobs, one after the other: a job costs one claim, one settle, and one call of the store for both."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fifoq import Fifoq
from fifoq.queue import Backend
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue
from tests.servers import Server

JOBS = 200
SHAPES: dict[str, tuple[dict[str, Any], int]] = {
    "one key": ({"key": "line"}, 1),
    "ordered queue": ({}, 1),
    "limit=1": ({"limit": 1}, 1),
    "ten keys": ({"key": "line"}, 10),
}
"""The settings of the task, and how many lines its jobs are in."""


class Counts:
    """The calls of the workers: of the verbs, and of the store."""

    def __init__(self) -> None:
        self.claims = self.empty = self.settles = 0
        self.store: Callable[[], int] = lambda: 0

    def wrap(self, backend: Backend) -> Any:
        counts = self

        class Counted(WrappedQueue):
            async def claim(self, *args: Any) -> Any:
                claimed = await self._queue.claim(*args)
                counts.claims += 1
                counts.empty += not claimed.leases
                return claimed

            async def settle(self, *args: Any) -> Any:
                counts.settles += 1
                return await self._queue.settle(*args)

        return WrappedBackend(backend, Counted)


@pytest.fixture
def counts(
    request: pytest.FixtureRequest,
    url: str,
    plant: Callable[[Callable[[Backend], Any]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Counts:
    counts = Counts()
    plant(counts.wrap)
    if url.startswith("redis"):
        server: Server = request.getfixturevalue("any_redis_server")
        counts.store = lambda: _function_calls(server)
    elif url.startswith("sqlite"):
        from fifoq_sqlite.group_commit import GroupCommit

        transactions, begin = 0, GroupCommit._begin

        def counted(group: GroupCommit, calls: Any) -> None:
            nonlocal transactions
            transactions += 1
            begin(group, calls)

        monkeypatch.setattr(GroupCommit, "_begin", counted)
        counts.store = lambda: transactions
    return counts


def _function_calls(server: Server) -> int:
    with server.client() as client:
        stats: Any = client.info("commandstats")
    return stats["cmdstat_fcall"]["calls"] if "cmdstat_fcall" in stats else 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_job_of_a_line_costs_one_claim_and_one_call(url: str, counts: Counts, shape: str, workers: int) -> None:
    settings, lines = SHAPES[shape]
    tasks, done, ran = Fifoq(url), asyncio.Event(), list[tuple[str, int]]()
    tasks.queue("line", ordered=shape == "ordered queue")

    @tasks.task(queue="line", **settings)
    async def job(line: str, number: int) -> None:
        ran.append((line, number))
        if len(ran) == JOBS:
            done.set()

    async with tasks:
        await asyncio.gather(*(job.enqueue(f"{number % lines}", number) for number in range(JOBS)))
        before = counts.store()
        async with AsyncExitStack() as stack:
            for _ in range(workers):
                await stack.enter_async_context(tasks.worker())
            await done.wait()
            claims, empty, settles, calls = counts.claims, counts.empty, counts.settles, counts.store() - before

    bound = 1.1 * JOBS / lines + 10  # the workers begin, and look at the queue once
    assert {line: sorted(numbers) for line, numbers in by_line(ran).items()} == by_line(ran)
    assert settles <= bound
    assert claims <= bound
    assert empty <= 0.1 * JOBS / lines + 10
    assert calls <= bound


def by_line(ran: list[tuple[str, int]]) -> dict[str, list[int]]:
    return {line: [number for other, number in ran if other == line] for line in {line for line, _ in ran}}


async def test_a_job_that_comes_alone_costs_a_put_two_claims_and_a_settle(url: str, counts: Counts) -> None:
    """The second claim leaves with the settle, and takes the place of a call that registers the worker as a waiter."""
    tasks, jobs = Fifoq(url), 60

    @tasks.task(key="line")
    async def job(line: str, number: int) -> int:
        return number

    async with tasks, tasks.worker():
        for number in range(jobs + 5):
            if number == 5:
                counts.claims = counts.settles = 0
                before = counts.store()
            assert await job.call("a", number) == number
            await asyncio.sleep(0.01)
        calls = counts.store() - before
    assert counts.settles <= jobs + 1
    assert counts.claims <= 2.4 * jobs
    assert calls <= {"redis": 2.5, "sqlite": 5.8}.get(url.partition(":")[0], 0) * jobs
