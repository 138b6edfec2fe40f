"""An agenda gives what is due by (time, entry), each once, at its newest time."""

from hypothesis import given
from hypothesis import strategies as st

from fifoq_memory.indexes import SLACK, TimerIndex

STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "set", "set", "clear", "due"]), st.integers(1, 5), st.integers(0, 20))
)


@given(STEPS)
def test_it_is_a_map_of_entries_to_times(steps: list[tuple[str, int, int]]) -> None:
    agenda, plain = TimerIndex(), dict[int, int]()
    for what, entry, at in steps:
        match what:
            case "set":
                agenda.set(entry, at)
                plain[entry] = at
            case "clear":
                agenda.clear(entry)
                plain.pop(entry, None)
            case _:
                due = sorted((time, one) for one, time in plain.items() if time <= at)[:entry]
                assert agenda.due(at, entry) == [one for _, one in due]
                for _, one in due:
                    del plain[one]
        assert agenda.next() == min(plain.values(), default=None)
        assert agenda.times == plain


def test_a_heartbeat_adds_no_slip() -> None:
    agenda = TimerIndex()
    agenda.set(1, 15)
    for now in range(10_000):
        agenda.set(1, now + 15)
    assert len(agenda.run) + len(agenda.rest) == 1
    assert agenda.due(10_000, 10) == []
    assert agenda.next() == 10_014


def test_what_was_cleared_does_not_pile_up() -> None:
    agenda = TimerIndex()
    agenda.set(0, 1_000_000)
    for entry in range(1, 20_000):
        agenda.set(entry, entry + 1_000_000)
        agenda.clear(entry)
    assert len(agenda.run) + len(agenda.rest) <= 2 + SLACK + 1
