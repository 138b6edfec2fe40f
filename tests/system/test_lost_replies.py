"""Replies that are lost between fifoq and its store change nothing that a caller or the history can see."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fifoq import Context, Fifoq, Limit, Retry, State
from fifoq.limits import GateSettings
from fifoq.queue import Backend
from fifoq.testing.history import MemoryLog, Producer, WatchedBackend, attempt, check, write_finals
from fifoq.testing.lost_replies import VERBS, LostReplies

JOBS, KEYS = 1_000, 25

Plant = Callable[[Callable[[Backend], Any]], None]


@pytest.mark.parametrize("verbs", [("put",), ("claim",), ("settle",), VERBS], ids=" ".join)
async def test_lost_replies_change_nothing_that_the_history_can_see(
    url: str, log: MemoryLog, plant: Plant, verbs: tuple[str, ...]
) -> None:
    planted: list[LostReplies] = []

    def lossy(backend: Backend) -> Any:
        planted.append(LostReplies(WatchedBackend(backend, log), every=3, verbs=verbs))
        return planted[-1]

    plant(lossy)
    tasks = Fifoq(url)

    @tasks.task(key="match", limit=[Limit(20), Limit(4, by="tenant")], retry=Retry(attempts=5, backoff=0.001))
    async def play(ctx: Context, match: str, tenant: int, number: int) -> int:
        with attempt(log, ctx, str(tenant)) as effect:
            await asyncio.sleep(0.001)
            if (number + ctx.attempt) % 11 == 0:
                raise ValueError("bad luck")
            effect()
        return number

    producer = Producer(log)

    async def call(number: int) -> int:
        id, match = f"job-{number}", f"m{number % KEYS}"
        await asyncio.sleep(number % 5 * 0.002)  # calls of one moment would be one put, and one reply
        enqueue = play.options(id=id)
        handle = await producer.enqueue("default", id, match, lambda: enqueue.enqueue(match, number % 5, number))
        assert handle.created, "a repeated put gives the first reply"
        return await handle.result(timeout=60)

    async with tasks, tasks.worker(concurrency=30):
        for first in range(0, JOBS, 50):
            numbers = range(first, first + 50)
            assert await asyncio.gather(*map(call, numbers)) == list(numbers)
        await write_finals(log, tasks.jobs())

    assert sum(one.lost for one in planted) > 5, "replies were to be lost"
    outcome = check(log.events, {("default", "play"): GateSettings.of([Limit(20), Limit(4, by="tenant")])})
    assert outcome.ok, str(outcome)
    assert outcome.jobs == JOBS
    assert outcome.in_doubt == 0


async def test_one_reply_lost_of_each_kind_does_not_run_a_job_twice(url: str, log: MemoryLog, plant: Plant) -> None:
    planted: list[LostReplies] = []

    def lossy(backend: Backend) -> Any:
        planted.append(LostReplies(backend))
        return planted[-1]

    plant(lossy)
    tasks = Fifoq(url)
    runs: list[int] = []

    @tasks.task
    async def once(number: int) -> int:
        runs.append(number)
        return number

    async with tasks, tasks.worker(concurrency=5):
        for number, verb in enumerate(VERBS):
            for one in planted:
                one.lose(verb, times=2)
            assert await once.options(wait=30).call(number) == number
        # Each of the stories, with nothing lost: the same.
        assert await once.options(wait=30).call(len(VERBS)) == len(VERBS)
    assert sum(one.lost for one in planted) >= 2 * len(VERBS)
    assert runs == list(range(len(VERBS) + 1))


async def test_a_claim_whose_reply_was_lost_is_handed_back_by_a_worker_that_stops(url: str, plant: Plant) -> None:
    planted: list[LostReplies] = []

    def lossy(backend: Backend) -> Any:
        planted.append(LostReplies(backend))
        return planted[-1]

    plant(lossy)
    tasks = Fifoq(url)

    @tasks.task
    async def once(number: int) -> int:
        return number

    async with tasks:
        async with tasks.worker():
            await once.options(wait=30).call(0)
            planted[0].lose("claim")
            job = await once.enqueue(1)
            while (await job.status()).state is State.WAITING:  # noqa: ASYNC110  # nobody is told of a claim
                await asyncio.sleep(0)
            # It is claimed, and the worker does not know: now it stops.
        status = await job.status()
        assert (status.state, status.crashes) in {(State.WAITING, 0), (State.SUCCEEDED, 0)}
        await asyncio.wait_for(tasks.worker().drain(), 5)
        assert (await job.status()).state is State.SUCCEEDED
        assert (await job.status()).crashes == 0
