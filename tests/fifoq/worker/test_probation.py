"""Killers and innocents: a crash is charged to the job that caused it, and at most once to those beside it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fifoq.queue import Call
from fifoq.record import State
from fifoq.testing import ManualClock
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue
from fifoq.worker import probation, runtime
from fifoq_memory import MemoryBackend
from tests.fifoq.worker.conftest import Outages, Shop

LEASE = 15.0


class Mortal:
    """Workers on one store, one after the other: a killer cuts off the one that runs it, and its leases end."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.backend = MemoryBackend("memory://", clock=clock)
        self.shop = Shop(self.backend)
        self.outages = Outages(self.backend)
        self.died = asyncio.Event()
        self.deaths = 0
        self.begun: list[tuple[int, str]] = []
        """The worker's number and the job's name, for each beginning."""

    async def innocent(self, name: str, turns: int) -> str:
        self.begun.append((self.deaths, name))
        for _ in range(turns):
            await asyncio.sleep(0)
        return name

    async def killer(self, name: str, turns: int) -> None:
        self.begun.append((self.deaths, name))
        for _ in range(turns):
            await asyncio.sleep(0)
        self.outages.down = True
        self.died.set()
        await asyncio.Event().wait()

    async def work(self, concurrency: int) -> None:
        """Run workers, each until it is dead, and the last until all jobs have ended."""
        while True:
            self.outages, self.died = Outages(self.backend), asyncio.Event()
            worker = self.shop.worker(backend=self.outages, concurrency=concurrency, lease=LEASE, grace=0.0)
            draining = asyncio.create_task(worker.drain())
            dead = asyncio.create_task(self.died.wait())
            await asyncio.wait([draining, dead], timeout=60, return_when=asyncio.FIRST_COMPLETED)
            if draining.done():
                dead.cancel()
                return await draining
            assert dead.done(), "neither dead nor done"
            draining.cancel()
            await asyncio.wait([draining])
            self.deaths += 1
            self.clock.advance(LEASE + 1)


jobs = st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.sampled_from([None, "a", "b"])), min_size=1, max_size=12)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is cut off ends soon."""
    monkeypatch.setattr(runtime, "STOP_TIMEOUT", 0.01)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=jobs, concurrency=st.sampled_from([1, 2, 5, 100]), max_crashes=st.integers(2, 3))
def test_exactly_the_killers_fail(brief: None, jobs: list[Any], concurrency: int, max_crashes: int) -> None:
    async def run() -> None:
        killers = {str(n) for n, (kills, _, _) in enumerate(jobs) if kills}
        mortal = Mortal(ManualClock())
        await mortal.backend.open()
        innocent = mortal.shop.task(mortal.innocent, name="innocent", max_crashes=max_crashes)
        killer = mortal.shop.task(mortal.killer, name="killer", max_crashes=max_crashes)
        for n, (kills, turns, key) in enumerate(jobs):
            await mortal.shop.put(killer if kills else innocent, str(n), turns, id=str(n), key=key)
        await mortal.work(concurrency)
        records = {id: await mortal.shop.job(id) for id in map(str, range(len(jobs)))}
        assert {id for id, job in records.items() if job.state is State.FAILED} == killers
        others = [job for id, job in records.items() if id not in killers]
        assert all(job.state is State.SUCCEEDED and job.crashes <= 1 for job in others)
        assert all(records[id].error.type == "TooManyCrashes" for id in killers)
        assert mortal.deaths <= max_crashes * len(killers)
        await mortal.backend.close()

    asyncio.run(run())


async def test_a_job_on_its_last_chance_runs_beside_no_other_suspect(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probation, "LAST_PROBATION", 0.01)
    monkeypatch.setattr(runtime, "PROBATION", 0.01)
    order: list[str] = []
    fresh_began = asyncio.Event()

    async def last(name: str) -> None:
        order.append(name)
        await fresh_began.wait()
        order.append(f"{name} ends")

    async def suspect(name: str) -> None:
        order.append(name)

    async def fresh(name: str) -> None:
        order.append(name)
        fresh_began.set()

    first, second = shop.task(last, max_crashes=2), shop.task(suspect, max_crashes=9)
    third = shop.task(fresh)
    await shop.put(first, "last", id="last")
    await shop.put(second, "suspect", id="suspect")
    clock = shop.backend.clock
    await crashed(shop, 2, clock)
    await shop.put(third, "fresh", id="fresh")
    async with shop.worker():
        await shop.ended("last")
        clock.advance(1.0)
        await shop.ended("suspect")
    assert order == ["last", "fresh", "last ends", "suspect"]


async def crashed(shop: Any, n: int, clock: ManualClock) -> None:
    """Have a worker die with n jobs."""
    queue = shop.backend.queue("default")
    await queue.claim(Call("dead", 1), "dead", n, 15_000_000, frozenset(shop.tasks["default"]))
    clock.advance(16)


@pytest.fixture
async def backend() -> AsyncIterator[MemoryBackend]:
    clock = ManualClock()
    backend = MemoryBackend("memory://", clock=clock)
    backend.clock = clock  # type: ignore[attr-defined]
    await backend.open()
    yield backend
    await backend.close()


async def test_jobs_that_run_go_on_beside_a_suspect_and_others_begin_after_its_probation(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probation, "PROBATION", 0.01)
    began, end = [], asyncio.Event()

    async def long(n: int) -> None:
        began.append(n)
        await end.wait()

    task = shop.task(long)
    for n in range(5):
        await shop.put(task, n)
    await crashed(shop, 5, shop.backend.clock)
    async with shop.worker():
        await shop.until(lambda: len(began) == 5)
        end.set()
    assert began == [0, 1, 2, 3, 4]


async def test_a_suspect_begins_once_the_others_are_back_in_the_store(shop: Any) -> None:
    written, settling = asyncio.Event(), asyncio.Event()
    began: list[int] = []

    class Slow(WrappedQueue):
        async def settle(self, call: Any, settlements: Any) -> Any:
            settling.set()
            await written.wait()
            return await self._queue.settle(call, settlements)

    async def job(n: int) -> None:
        began.append(n)

    task = shop.task(job)
    for n in range(3):
        await shop.put(task, n, id=str(n))
    await crashed(shop, 3, shop.backend.clock)
    async with shop.worker(backend=WrappedBackend(shop.backend, Slow)):
        await settling.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert began == []
        written.set()
        await shop.ended("2")
    assert began == [0, 1, 2]
