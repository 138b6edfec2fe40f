"""The base of the cases: a clock that a test moves, and the driver with `await`."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fifoq.record import State
from fifoq.testing import AsyncDriver, ManualClock, ModelBackend, ModelStore, spec
from fifoq.testing.driver import KEPT

# ---- the clock ----


def test_it_does_not_move_by_itself() -> None:
    clock = ManualClock()
    assert clock.now() == clock.now()


def test_it_advances_by_seconds_rounded_up_to_whole_microseconds() -> None:
    clock = ManualClock(0)
    clock.advance(1.5)
    assert clock.now() == 1_500_000
    clock.advance(0.000_000_1)
    assert clock.now() == 1_500_001


def test_it_can_be_set_back() -> None:
    clock = ManualClock(10)
    clock.set(3)
    assert clock.now() == 3


# ---- the driver with `await` ----


@pytest.fixture
async def backend() -> AsyncIterator[ModelBackend]:
    backend = ModelBackend(ModelStore(ManualClock()))
    await backend.open()
    yield backend
    await backend.close()


async def test_each_call_has_the_next_number_of_its_caller(backend: ModelBackend) -> None:
    driver = AsyncDriver(backend.queue("queue"), caller="caller")
    await asyncio.gather(driver.put(spec(id="a")), driver.put(spec(id="b")))
    (a, b) = await driver.leases(2)
    assert (a.spec.id, b.spec.id, a.token) == ("a", "b", "caller.3.1")


async def test_jobs_settled_together_are_kept_as_long_as_the_driver_or_the_call_asks(backend: ModelBackend) -> None:
    kept = AsyncDriver(backend.queue("queue"))
    gone = AsyncDriver(backend.queue("queue"), retain=0)
    await kept.put(*(spec(id=id) for id in "abc"))
    assert await kept.succeed_all(*await kept.leases(1)) == (State.SUCCEEDED,)
    assert await gone.succeed_all(*await gone.leases(2), retain=KEPT) == (State.SUCCEEDED,) * 2
    await kept.put(spec(id="d"))
    assert await gone.fail(await gone.lease()) is State.FAILED
    assert [record and record.spec.id for record in await kept.queue.get(["a", "b", "c", "d"])] == ["a", "b", "c", None]
