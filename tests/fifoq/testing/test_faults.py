"""A reply is lost after its call took effect, and never without."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from fifoq.errors import OutcomeUnknown
from fifoq.testing import Driver, LostReplies, ManualClock, ModelBackend, ModelStore, spec


@pytest.fixture
def faults() -> LostReplies:
    return LostReplies(ModelBackend(ModelStore(ManualClock())))


@pytest.fixture
def driver(faults: LostReplies) -> Iterator[Driver]:
    with closing(Driver(faults)) as driver:
        yield driver


def test_nothing_is_lost_unless_asked_for(driver: Driver) -> None:
    driver.put(spec(id="a"))
    assert driver.work() == ["a"]


@pytest.mark.parametrize("verb", ["put", "claim", "settle"])
def test_a_lost_reply_raises_once_and_the_call_took_effect(faults: LostReplies, driver: Driver, verb: str) -> None:
    driver.put(spec(id="a"))
    lease = driver.lease() if verb == "settle" else None
    act = {"put": lambda: driver.put(spec()), "claim": driver.claim, "settle": lambda: driver.succeed(lease)}[verb]
    before = driver.stats()
    faults.lose(verb)
    with pytest.raises(OutcomeUnknown):
        act()
    assert driver.stats() != before
    assert faults.lost == 1
    driver.put(spec())
    driver.claim()


def test_every_nth_reply_is_lost(driver: Driver) -> None:
    faults = LostReplies(driver.backend, every=3, verbs=["put"])
    with closing(Driver(faults)) as lossy:
        for number in range(9):
            if number % 3 == 2:
                with pytest.raises(OutcomeUnknown):
                    lossy.put(spec())
            else:
                lossy.put(spec())
    assert (faults.lost, driver.stats().accepted) == (3, 9)


def test_only_replies_of_calls_that_may_be_repeated_are_lost(faults: LostReplies) -> None:
    with pytest.raises(ValueError, match="extend"):
        faults.lose("extend")


def test_the_rest_of_the_backend_goes_through(faults: LostReplies, driver: Driver) -> None:
    driver.put(spec())
    assert driver.run(faults.queues()) == ("queue",)
    assert faults.queue("queue") is faults.queue("queue")
    with closing(Driver(faults.twin())) as other:
        assert other.stats().waiting == 1
