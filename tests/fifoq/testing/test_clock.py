"""A ManualClock moves when told to, and only then."""

from fifoq.testing import ManualClock


def test_it_stands_still() -> None:
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
