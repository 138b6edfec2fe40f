"""The recorded games replay move by move, by as much of the rules of chess as that needs."""

import pytest

from fifoq.cli.demo.games import RECORDED, START, MoveDoesNotFit, board_after, games, plans, recorded_games


def test_every_recorded_move_gives_the_recorded_board() -> None:
    plies = 0
    for moves in recorded_games():
        board = START
        for move in moves:
            board = board_after(board, move.uci)
            assert board == move.board, move
            plies += 1
    assert plies == 519


def test_en_passant_takes_the_pawn_beside() -> None:
    board = "rnbqkbnr/ppp1p1pp/8/3pPp2/8/8/PPPP1PPP/RNBQKBNR"
    assert board_after(board, "e5f6") == "rnbqkbnr/ppp1p1pp/5P2/3p4/8/8/PPPP1PPP/RNBQKBNR"


def test_a_pawn_that_takes_a_piece_leaves_the_square_beside_alone() -> None:
    board = "rnbqkbnr/ppp1pppp/8/3p4/4P3/8/PPPP1PPP/RNBQKBNR"
    assert board_after(board, "e4d5") == "rnbqkbnr/ppp1pppp/8/3P4/8/8/PPPP1PPP/RNBQKBNR"


@pytest.mark.parametrize(
    ("board", "move", "after"),
    [
        ("8/P6k/8/8/8/8/8/K7", "a7a8q", "Q7/7k/8/8/8/8/8/K7"),
        ("8/7k/8/8/8/8/p7/1N5K", "a2b1n", "8/7k/8/8/8/8/8/1n5K"),
    ],
)
def test_a_promotion_keeps_the_colour(board: str, move: str, after: str) -> None:
    assert board_after(board, move) == after


@pytest.mark.parametrize(
    ("move", "after"),
    [
        ("e1g1", "r3k2r/8/8/8/8/8/8/R4RK1"),
        ("e1c1", "r3k2r/8/8/8/8/8/8/2KR3R"),
        ("e8g8", "r4rk1/8/8/8/8/8/8/R3K2R"),
        ("e8c8", "2kr3r/8/8/8/8/8/8/R3K2R"),
    ],
)
def test_castling_takes_the_rook_along(move: str, after: str) -> None:
    assert board_after("r3k2r/8/8/8/8/8/8/R3K2R", move) == after


def test_a_move_from_an_empty_square_does_not_fit() -> None:
    with pytest.raises(MoveDoesNotFit, match="no piece on e4"):
        board_after(START, "e4e5")


def test_more_games_than_recorded_are_repetitions_under_names_of_their_own() -> None:
    recorded = recorded_games()
    assert len(recorded) == RECORDED
    played = games(RECORDED + 2)
    assert [game.moves for game in played] == [*recorded, *recorded[:2]]
    assert len({game.name for game in played}) == RECORDED + 2


def test_the_same_seed_makes_the_same_plans() -> None:
    assert plans(7, 3, mean_work=0.01, failing=0.1) == plans(7, 3, mean_work=0.01, failing=0.1)
    assert plans(7, 3, mean_work=0.01, failing=0.1) != plans(7, 4, mean_work=0.01, failing=0.1)
