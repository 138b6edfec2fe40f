"""
The clock of a store is set, ahead or back, at any moment, once and again, by seconds and by years.

A holder that lives and extends keeps its lease; one that died loses it after its time has passed, no later.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fifoq import Fifoq
from fifoq.backends import connect
from fifoq.clock import SECOND
from fifoq.queue import Backend
from fifoq.record import Extension, Hold, State
from fifoq.testing import AsyncDriver, ManualClock, spec

LONG = 30.0
LEASE = 10
YEAR = 366 * 86_400
STEPS = st.one_of(
    st.sampled_from([0.01, 0.04, 0.06, 1.0, LEASE - 0.01, LEASE, LEASE + 0.01, 3_600.0, 86_400.0, YEAR, 10 * YEAR]),
    st.floats(0.001, YEAR),
).flatmap(lambda step: st.sampled_from([step, -step]))
MOMENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["step", "step and put"]), STEPS),
        st.sampled_from([("pass", LEASE / 3), ("put", 0.0)]),
    ),
    max_size=12,
)


class Store:
    """Two processes on one store: the holder of a lease, and another one that claims as often as it can."""

    def __init__(self, backends: list[Backend], clock: ManualClock) -> None:
        self.backends = backends
        self.clock = clock
        self.holder, self.other = (AsyncDriver(backend.queue("queue")) for backend in backends)

    async def live(self, kind: str, amount: float) -> None:
        """Let time pass, set the clock, or put a job that the test does not claim."""
        if kind == "pass":
            self.clock.advance(amount)
        if "step" in kind:
            self.clock.set(self.clock.now() + round(amount * SECOND))
        if "put" in kind:
            await self.holder.put(spec(task="another"))

    async def __aenter__(self) -> "Store":
        for backend in self.backends:
            await backend.open()
        await self.live("put", 0.0)  # the first of its task; later ones take the short way
        return self

    async def __aexit__(self, *_: object) -> None:
        for backend in self.backends:
            await backend.close()


@pytest.fixture(params=["memory", "sqlite"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Callable[[Store], Coroutine[Any, Any, None]]], None]:
    """A function that runs a scenario on a store of its own."""

    def run(scenario: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
        folder = tmp_path_factory.mktemp("store")
        sqlite = f"sqlite:///{folder}/jobs.db?synchronous=normal"
        clock = ManualClock()
        url = sqlite if request.param == "sqlite" else "memory://"
        first = connect(url, clock)

        async def body() -> None:
            async with Store([first, first.twin()], clock) as store:
                await scenario(store)

        asyncio.run(body())

    return run


FEW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@FEW
@given(before=MOMENTS, during=MOMENTS, after=MOMENTS, value=st.booleans())
def test_a_holder_that_lives_keeps_its_lease(run: Any, before: Any, during: Any, after: Any, value: bool) -> None:
    async def scenario(store: Store) -> None:
        holder, other = store.holder, store.other
        await holder.put(spec("k", id="a", value="v" if value else None), spec("k", id="b"))
        for moment in before:
            await store.live(*moment)
        (lease,) = await holder.leases(lease=LEASE * SECOND)
        for moments in (during, after):
            for moment in moments:
                await store.live(*moment)
                assert await other.claim(5) == []
                if moment[0] == "pass" or moments is after:
                    extension = Extension("a", lease.token, LEASE * SECOND)
                    assert await holder.queue.extend([extension]) == (Hold.HELD,)
        assert await holder.succeed(lease) == State.SUCCEEDED
        assert await other.claim(5) == ["b"]
        (record,) = await other.queue.get(["a"])
        assert record is not None
        assert (record.attempt, record.crashes) == (1, 0)
        assert (await other.queue.audit()).differences == ()

    run(scenario)


@FEW
@given(moments=MOMENTS)
def test_the_lease_of_a_holder_that_died_ends_when_its_time_has_passed(run: Any, moments: Any) -> None:
    async def scenario(store: Store) -> None:
        await store.holder.put(spec("k", id="a"))
        await store.holder.leases(lease=LEASE * SECOND)
        passed, claimed = 0.0, list[str]()
        for moment in [*moments, *[("pass", LEASE / 3)] * 4]:
            await store.live(*moment)
            passed += moment[1] if moment[0] == "pass" else 0.0
            claimed = await store.other.claim(lease=2**40)
            if claimed:
                break
        assert claimed == ["a"]
        assert LEASE - 0.1 <= passed <= LEASE + LEASE / 3 + 0.1

    run(scenario)


@FEW
@given(moments=MOMENTS, delay=st.sampled_from([1.0, 60.0, 86_400.0]))
def test_a_delay_goes_by_the_wall(run: Any, moments: Any, delay: float) -> None:
    """Set ahead, a job is due earlier by the step at most; set back, it is due after its delay at the latest."""

    async def scenario(store: Store) -> None:
        await store.holder.put(spec(id="a", delay=delay))
        ahead = passed = 0.0
        claimed = list[str]()
        for moment in [*moments, ("pass", delay)]:
            await store.live(*moment)
            ahead += max(0.0, moment[1])
            passed += moment[1] if moment[0] == "pass" else 0.0
            claimed = await store.other.claim()
            if claimed:
                break
        assert claimed == ["a"]
        assert ahead >= delay - 0.001
        assert passed <= delay + LEASE / 3 * len(moments)

    run(scenario)


# ---- workers ----


class Wall:
    """The host's clock, set ahead by a test."""

    ahead = 0

    def now(self) -> int:
        return time.time_ns() // 1_000 + self.ahead


def hold(log: str) -> None:
    """Note the beginning and the end of a run in a file, whatever process it is in, and wait in between."""
    with Path(log).open("a") as file:
        file.write("begin ")
        file.flush()
        while not Path(f"{log}-go").exists():
            time.sleep(0.01)
        file.write("end ")


async def hold_async(log: str) -> None:
    await asyncio.to_thread(hold, log)


async def nothing() -> None: ...


@pytest.mark.parametrize(
    ("url", "workers"), [("memory", 1), ("memory", 2), ("sqlite", 1), ("sqlite", 2), ("redis", 1)], indirect=["url"]
)
@pytest.mark.parametrize("place", ["loop", "thread", "process"])
async def test_no_worker_begins_a_job_that_runs(url: str, tmp_path: Path, place: str, workers: int) -> None:
    on_server = url.startswith("redis")  # its leases go by its clock alone, but a worker knows that it runs the job
    wall, log = Wall(), tmp_path / "log"
    apps = [Fifoq(url, clock=wall, lease=3.0, grace=0.5) for _ in range(workers)]
    for tasks in apps:
        run_in = "process" if place == "process" else "auto"
        tasks.task(key="log", run_in=run_in, name="held")(hold_async if place == "loop" else hold)
        tasks.task(name="probe")(nothing)
    async with asyncio.timeout(LONG), apps[0], apps[0].worker(concurrency=5):
        first, second = await apps[0].tasks["held"].enqueue(str(log)), await apps[0].tasks["held"].enqueue(str(log))
        while not log.exists() or not log.read_text():  # noqa: ASYNC110 -- another process writes it
            await asyncio.sleep(0.01)
        other = apps[-1].worker(concurrency=5) if workers > 1 else None
        if other is not None:
            await other.__aenter__()
        for step in (3_600, 1, -1_800, 86_400, YEAR):
            wall.ahead += step * SECOND
            for _ in range(2 * workers):
                await apps[0].tasks["probe"].call()  # so that each worker has claimed
        log.with_name("log-go").touch()
        await first.result()
        await second.result()
        if other is not None:
            await other.__aexit__(None, None, None)
        job = await first.status()
    assert log.read_text() == "begin end begin end "
    if not on_server:
        assert (job.attempt, job.crashes) == (1, 0)
