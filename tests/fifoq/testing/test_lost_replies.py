"""LostReplies: a reply is lost after its call took effect, and only on request."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from fifoq.errors import OutcomeUnknown
from fifoq.testing import Driver, LostReplies, ManualClock, ModelBackend, ModelStore, spec


@pytest.fixture
def backend() -> LostReplies:
    return LostReplies(ModelBackend(ModelStore(ManualClock())))


@pytest.fixture
def driver(backend: LostReplies) -> Iterator[Driver]:
    with closing(Driver(backend)) as driver:
        yield driver


def test_nothing_is_lost_unless_asked_for(driver: Driver) -> None:
    driver.put(spec(id="a"))
    assert driver.work() == ["a"]


@pytest.mark.parametrize("verb", ["put", "claim", "settle"])
def test_a_lost_reply_raises_once_and_the_call_took_effect(backend: LostReplies, driver: Driver, verb: str) -> None:
    driver.put(spec(id="a"))
    lease = driver.lease() if verb == "settle" else None
    act = {"put": lambda: driver.put(spec()), "claim": driver.claim, "settle": lambda: driver.succeed(lease)}[verb]
    before = driver.stats()
    backend.lose(verb)
    with pytest.raises(OutcomeUnknown):
        act()
    assert driver.stats() != before
    assert backend.lost == 1
    driver.put(spec())
    driver.claim()


def test_every_nth_reply_is_lost(driver: Driver) -> None:
    backend = LostReplies(driver.backend, every=3, verbs=["put"])
    with closing(Driver(backend)) as lossy:
        for number in range(9):
            if number % 3 == 2:
                with pytest.raises(OutcomeUnknown):
                    lossy.put(spec())
            else:
                lossy.put(spec())
    assert (backend.lost, driver.stats().accepted) == (3, 9)


def test_only_replies_of_calls_that_may_be_repeated_are_lost(backend: LostReplies) -> None:
    with pytest.raises(ValueError, match="extend"):
        backend.lose("extend")


def test_the_rest_of_the_backend_goes_through(backend: LostReplies, driver: Driver) -> None:
    driver.put(spec())
    assert driver.run(backend.queues()) == ("queue",)
    assert backend.queue("queue") is backend.queue("queue")
    with closing(Driver(backend.twin())) as other:
        assert other.stats().waiting == 1
