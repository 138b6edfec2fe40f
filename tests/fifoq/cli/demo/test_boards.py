"""The demo's own store holds the right board after each attempt, also a killed, a repeated or a late one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fifoq.cli.demo.boards import Attempt, Boards, GameState, PlannedFailure
from fifoq.cli.demo.games import START, MoveDoesNotFit, MoveRequest, board_after

MOVE = MoveRequest(ply=1, uci="e2e4", work=0.0, fails_first=False)
REPLY = MoveRequest(ply=2, uci="e7e5", work=0.0, fails_first=False)
AFTER = board_after(START, MOVE.uci)


@pytest.fixture
def boards(tmp_path: Path) -> Boards:
    return Boards(tmp_path / "boards")


def log(boards: Boards) -> tuple[Attempt, ...]:
    return boards.state("g").log


async def test_a_game_begins_with_the_first_board(boards: Boards) -> None:
    assert boards.state("g") == GameState(START, ())


async def test_each_move_is_stored_over_the_one_before_also_by_another_process(boards: Boards, tmp_path: Path) -> None:
    await boards.apply("g", MOVE)
    await Boards(tmp_path / "boards").apply("g", REPLY)
    assert boards.state("g").board == board_after(AFTER, REPLY.uci)
    assert [(attempt.ply, attempt.outcome, attempt.board) for attempt in log(boards)] == [
        (1, "stored", AFTER),
        (2, "stored", board_after(AFTER, REPLY.uci)),
    ]
    assert all(attempt.ended is not None and attempt.started <= attempt.ended for attempt in log(boards))


async def test_two_at_once_overwrite_each_other(boards: Boards) -> None:
    """The store has no transaction around the work: this spoils the boards of the naive way."""
    other = MoveRequest(ply=2, uci="d2d4", work=0.02, fails_first=False)
    await asyncio.gather(boards.apply("g", other), boards.apply("g", MOVE))
    assert boards.state("g").board == board_after(START, "d2d4")


async def test_a_move_that_is_stored_is_left_alone(boards: Boards) -> None:
    await boards.apply("g", MOVE)
    await boards.apply("g", MOVE, number=2)
    assert boards.state("g").board == AFTER
    assert [attempt.outcome for attempt in log(boards)] == ["stored", "stored before"]


async def test_an_attempt_with_an_old_fence_stores_nothing(boards: Boards) -> None:
    late = asyncio.create_task(
        boards.apply("g", MoveRequest(1, "e2e4", work=0.02, fails_first=False), number=1, fence=3)
    )
    await asyncio.sleep(0)
    await boards.apply("g", MoveRequest(1, "d2d4", work=0.0, fails_first=False), number=2, fence=4)
    await late
    assert boards.state("g").board == board_after(START, "d2d4")
    assert [(attempt.number, attempt.outcome) for attempt in log(boards)] == [(2, "stored"), (1, "stale")]


async def test_an_interrupted_attempt_has_no_end_and_stores_nothing(boards: Boards) -> None:
    interrupted = asyncio.create_task(boards.apply("g", MoveRequest(1, "e2e4", work=60.0, fails_first=False)))
    await asyncio.sleep(0)
    interrupted.cancel()
    assert boards.state("g").board == START
    [attempt] = log(boards)
    assert (attempt.ended, attempt.outcome, attempt.board) == (None, None, None)
    await boards.apply("g", MOVE, number=2)
    assert [attempt.outcome for attempt in log(boards)] == ["stored", None]


@pytest.mark.parametrize(
    ("move", "error", "outcome"),
    [
        (MoveRequest(1, "e2e4", 0.0, True), PlannedFailure, "failed"),
        (MoveRequest(1, "e4e5", 0.0, False), MoveDoesNotFit, "no piece"),
    ],
)
async def test_a_failed_attempt_is_logged_as_such(
    boards: Boards, move: MoveRequest, error: type[Exception], outcome: Any
) -> None:
    with pytest.raises(error):
        await boards.apply("g", move)
    assert [attempt.outcome for attempt in log(boards)] == [outcome]
    assert boards.state("g").board == START
