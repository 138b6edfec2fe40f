"""The demo's own store: what is in it after each attempt, also one that was killed, came twice, or came too late."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fifoq.cli.demo.board import START, MoveDoesNotFit, play
from fifoq.cli.demo.boards import Boards, Stumble
from fifoq.cli.demo.log import Entry, Turn

MOVE = Turn(ply=1, uci="e2e4", work=0.0, stumbles=False)
ANSWER = Turn(ply=2, uci="e7e5", work=0.0, stumbles=False)
AFTER = play(START, MOVE.uci)


@pytest.fixture
def boards(tmp_path: Path) -> Boards:
    return Boards(tmp_path / "boards")


def log(boards: Boards) -> list[Entry]:
    return boards.facts("g")["log"]


async def test_a_game_begins_with_the_first_board(boards: Boards) -> None:
    assert boards.facts("g") == {"board": START, "log": []}


async def test_moves_are_stored_one_on_the_other_also_by_another_process(boards: Boards, tmp_path: Path) -> None:
    await boards.apply("g", MOVE)
    await Boards(tmp_path / "boards").apply("g", ANSWER)
    assert boards.facts("g")["board"] == play(AFTER, ANSWER.uci)
    assert [(entry.ply, entry.outcome, entry.board) for entry in log(boards)] == [
        (1, "made", AFTER),
        (2, "made", play(AFTER, ANSWER.uci)),
    ]
    assert all(entry.ended is not None and entry.started <= entry.ended for entry in log(boards))


async def test_two_at_once_overwrite_each_other(boards: Boards) -> None:
    """What the naive way suffers from: the store has no transaction around the work."""
    other = Turn(ply=2, uci="d2d4", work=0.02, stumbles=False)
    await asyncio.gather(boards.apply("g", other), boards.apply("g", MOVE))
    assert boards.facts("g")["board"] == play(START, "d2d4")


async def test_a_move_that_is_stored_is_left_alone(boards: Boards) -> None:
    await boards.apply("g", MOVE)
    await boards.apply("g", MOVE, attempt=2)
    assert boards.facts("g")["board"] == AFTER
    assert [entry.outcome for entry in log(boards)] == ["made", "made before"]


async def test_an_attempt_with_an_old_fence_stores_nothing(boards: Boards) -> None:
    late = asyncio.create_task(boards.apply("g", Turn(1, "e2e4", work=0.02, stumbles=False), attempt=1, fence=3))
    await asyncio.sleep(0)
    await boards.apply("g", Turn(1, "d2d4", work=0.0, stumbles=False), attempt=2, fence=4)
    await late
    assert boards.facts("g")["board"] == play(START, "d2d4")
    assert [(entry.attempt, entry.outcome) for entry in log(boards)] == [(2, "made"), (1, "stale")]


async def test_an_attempt_that_was_cut_off_has_no_end_and_stores_nothing(boards: Boards) -> None:
    cut = asyncio.create_task(boards.apply("g", Turn(1, "e2e4", work=60.0, stumbles=False)))
    await asyncio.sleep(0)
    cut.cancel()
    assert boards.facts("g")["board"] == START
    [entry] = log(boards)
    assert (entry.ended, entry.outcome, entry.board) == (None, None, None)
    await boards.apply("g", MOVE, attempt=2)
    assert [entry.outcome for entry in log(boards)] == ["made", None]


@pytest.mark.parametrize(
    ("turn", "error", "outcome"),
    [(Turn(1, "e2e4", 0.0, True), Stumble, "stumbled"), (Turn(1, "e4e5", 0.0, False), MoveDoesNotFit, "misfit")],
)
async def test_a_failed_attempt_is_logged_as_such(
    boards: Boards, turn: Turn, error: type[Exception], outcome: Any
) -> None:
    with pytest.raises(error):
        await boards.apply("g", turn)
    assert [entry.outcome for entry in log(boards)] == [outcome]
    assert boards.facts("g")["board"] == START
