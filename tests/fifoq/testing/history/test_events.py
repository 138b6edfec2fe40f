"""The logs of a history: the file of a killed process can be read."""

from pathlib import Path

import pytest

from fifoq.record import State
from fifoq.testing.history import (
    Doubted,
    Effect,
    FileLog,
    Requeued,
    read_logs,
)
from tests.fifoq.testing.history.conftest import Q, Story


def test_a_history_survives_its_files(tmp_path: Path, story: Story) -> None:
    story.put("a", "b")
    story.run("a", 1, value="x", seq=1, claimed_at=1)
    story.settle("a", 1, State.SUCCEEDED)
    story.run("b", 2)
    story.settle("b", 2, None)
    story.add(Doubted(story.tick(), "w"))
    story.add(Requeued(story.tick(), Q, "a"))
    story.final("a", "b")
    with FileLog(tmp_path) as first, FileLog(tmp_path) as second:
        for number, event in enumerate(story.events):
            (first, second)[number % 2].write(event)
    read = list(read_logs(tmp_path))
    assert sorted(map(repr, read)) == sorted(map(repr, story.events))
    assert read.count(story.events[0]) == 1


def test_a_last_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    with FileLog(tmp_path) as log:
        log.write(Effect(1, Q, "a", 1))
        log.write(Effect(2, Q, "b", 2))
    whole = log.path.read_bytes()
    for end in range(len(whole)):
        log.path.write_bytes(whole[:end])
        assert len(list(read_logs(tmp_path))) == whole[:end].count(b"\n")


@pytest.mark.parametrize("line", [b'["Effect", 1, "q"', b'["Nothing", 1]', b'["Effect"]', b"17"])
def test_a_line_in_the_middle_that_is_no_event_is_an_error(tmp_path: Path, line: bytes) -> None:
    with FileLog(tmp_path) as log:
        log.write(Effect(1, Q, "a", 1))
    log.path.write_bytes(line + b"\n" + log.path.read_bytes())
    with pytest.raises(ValueError, match="line 1 of"):
        list(read_logs(tmp_path))
