"""What the cases over processes measure with."""

from fifoq.testing.contract.processes import Run, most_at_once


def run(begun: int, ended: int) -> Run:
    return Run("id", None, None, 1, 1, begun, ended)


def test_runs_that_touch_do_not_overlap() -> None:
    assert most_at_once([run(0, 5), run(5, 9), run(9, 12)]) == 1


def test_runs_that_overlap_are_counted_at_their_peak() -> None:
    assert most_at_once([run(0, 10), run(2, 4), run(3, 8), run(5, 6)]) == 3
