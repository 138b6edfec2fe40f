"""
The games of the demo: the recorded ones, the moves that are sent of them, and the rules of chess.

The rules go only as far as a replay needs: castling moves the rook too, en passant takes the pawn beside, a promotion
changes the piece. Whether a move is legal is not checked. A board is the first field of a FEN: eight ranks from the
top, digits for runs of empty squares.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

FILE = "kasparov_deep_blue_1997.jsonl"
RECORDED = 6
"""Games in the file: all of Kasparov against Deep Blue, 1997."""
START = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR"

_EMPTY = "."
_ROOKS = {"g": ("h", "f"), "c": ("a", "d")}
"""The files that a rook leaves and reaches, by the file that the castling king reaches."""
_SQUARES = [f"{file}{rank}" for rank in "87654321" for file in "abcdefgh"]
"""a8 to h1, in the order of a board's text."""


class Move(NamedTuple):
    """One ply of a recorded game, and the board after it."""

    ply: int
    uci: str
    board: str


class Game(NamedTuple):
    """One of the recorded games, under the name of one repetition of it."""

    name: str
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """One move as it is sent: the body of its HTTP request, and the argument of its job."""

    ply: int
    uci: str
    work: float
    """Seconds that an attempt at the move takes."""
    fails_first: bool
    """Whether the first attempt fails."""


class Plan(NamedTuple):
    """The moves to send of one game, in order."""

    game: Game
    requests: tuple[MoveRequest, ...]


def recorded_games() -> list[tuple[Move, ...]]:
    """Return the recorded games, each a tuple of its moves in order."""
    found: dict[int, list[Move]] = {}
    for line in files("fifoq.cli.demo").joinpath(FILE).read_text("utf-8").splitlines():
        fact = json.loads(line)
        found.setdefault(fact["game"], []).append(Move(fact["ply"], fact["uci"], fact["board"]))
    return [tuple(moves) for _, moves in sorted(found.items())]


def games(count: int) -> list[Game]:
    """Return `count` games: the recorded ones again and again, under the names game-001, game-002, …"""
    recorded = recorded_games()
    return [Game(f"game-{number + 1:03}", recorded[number % len(recorded)]) for number in range(count)]


def plans(count: int, seed: int, *, mean_work: float, failing: float) -> list[Plan]:
    """
    Return the moves to send of `count` games: the same for the same seed.

    The work of a move is random, evenly spread up to twice `mean_work` seconds, so that a later move of a game often
    ends first when nothing keeps them in order. A share `failing` of the moves fails at the first attempt.
    """
    chance = random.Random(seed)
    return [Plan(game, tuple(_requests(game, chance, mean_work, failing))) for game in games(count)]


def _requests(game: Game, chance: random.Random, mean_work: float, failing: float) -> Iterator[MoveRequest]:
    for move in game.moves:
        yield MoveRequest(move.ply, move.uci, chance.uniform(0, 2 * mean_work), chance.random() < failing)


# ---- the rules of chess ----


class MoveDoesNotFit(Exception):
    """The square that the move starts from is empty: on this board an earlier move is missing."""

    def __init__(self, board: str, uci: str) -> None:
        super().__init__(f"there is no piece on {uci[:2]} to play {uci} on {board}")


def board_after(board: str, uci: str) -> str:
    """Return the board after the move `uci`, such as e2e4 or a7a8q. Raises MoveDoesNotFit."""
    squares = _squares(board)
    start, end, promotion = uci[:2], uci[2:4], uci[4:]
    piece = squares[start]
    if piece == _EMPTY:
        raise MoveDoesNotFit(board, uci)
    if piece in "Pp" and start[0] != end[0] and squares[end] == _EMPTY:
        squares[end[0] + start[1]] = _EMPTY  # en passant: the taken pawn is beside the other one, not in front of it
    if piece in "Kk" and start[0] == "e" and end[0] in _ROOKS:
        rook_start, rook_end = (file + start[1] for file in _ROOKS[end[0]])
        squares[rook_start], squares[rook_end] = _EMPTY, squares[rook_start]
    squares[start] = _EMPTY
    squares[end] = _promoted(piece, promotion)
    return _text(squares)


def _promoted(piece: str, promotion: str) -> str:
    if not promotion:
        return piece
    return promotion.upper() if piece.isupper() else promotion.lower()


def _squares(board: str) -> dict[str, str]:
    """The pieces of a board by square, a8 to h1."""
    text = board.replace("/", "")
    for digit in "12345678":
        text = text.replace(digit, _EMPTY * int(digit))
    return dict(zip(_SQUARES, text, strict=True))


def _text(squares: dict[str, str]) -> str:
    pieces = "".join(squares.values())
    ranks = "/".join(pieces[start : start + 8] for start in range(0, 64, 8))
    for run in range(8, 0, -1):
        ranks = ranks.replace(_EMPTY * run, str(run))
    return ranks
