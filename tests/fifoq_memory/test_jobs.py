"""A ready set returns its smallest score after any additions and removals, and stays below twice its members."""

from hypothesis import given
from hypothesis import strategies as st

from fifoq.testing import spec
from fifoq_memory.jobs import END, SLACK, Job, ReadySet, TaskGate

JOB = Job(spec(), 1, TaskGate("task"), 0)
STEPS = st.lists(st.tuples(st.sampled_from(["add", "add", "discard", "pop", "bound"]), st.integers(1, 30)))


@given(STEPS)
def test_a_ready_set_is_a_sorted_set(steps: list[tuple[str, int]]) -> None:
    ready, plain = ReadySet(), set[int]()
    for step, score in steps:
        match step:
            case "add":
                ready.add(score, JOB)
                plain.add(score)
            case "discard":
                ready.discard(score)
                plain.discard(score)
            case _:
                bound = END if step == "pop" else score
                expected = min((one for one in plain if one < bound and one == min(plain)), default=None)
                assert (ready.pop(bound) is None) == (expected is None)
                plain -= {expected}
        assert ready.first() == min(plain, default=None)
        assert ready.members.keys() == plain


def test_discarded_scores_do_not_pile_up() -> None:
    ready = ReadySet()
    for score in range(10_000, 0, -1):
        ready.add(score, JOB)
        ready.add(20_000 - score, JOB)
    for score in range(2, 20_000):
        ready.discard(score)
    assert ready.first() == 1
    assert ready.size() <= 2 + SLACK


def test_a_score_that_comes_and_goes_does_not_pile_up() -> None:
    ready = ReadySet()
    ready.add(1, JOB)
    for _ in range(10_000):
        ready.add(5, JOB)
        ready.discard(5)
    assert ready.size() <= 2 + SLACK


def test_the_passed_part_of_a_run_is_cut() -> None:
    ready = ReadySet()
    for score in range(10_000):
        ready.add(score + 1, JOB)
    for _ in range(9_000):
        ready.pop()
    assert len(ready.run) <= 2_000
