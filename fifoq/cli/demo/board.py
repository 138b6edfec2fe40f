"""
A chessboard that moves can be applied to, in order or not. It knows the pieces' ways only as far as a record needs:
castling takes its rook along, en passant its pawn, a promotion its piece; whether a move is legal is not its business.

A board is the first field of a FEN: eight ranks from the top, digits for runs of empty squares.
"""

START = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR"

_EMPTY = "."
_ROOKS = {"g": ("h", "f"), "c": ("a", "d")}
"""By the file where a castling king lands: where its rook stands, and where it goes."""


class MoveDoesNotFit(Exception):
    """The square that the move starts from is empty on this board: another move is missing, or came too late."""

    def __init__(self, board: str, uci: str) -> None:
        super().__init__(f"there is no piece on {uci[:2]} to play {uci} on {board}")


def play(board: str, uci: str) -> str:
    """Return the board after the move `uci`, such as e2e4 or a7a8q. Raises MoveDoesNotFit."""
    squares = _squares(board)
    start, end, promotion = uci[:2], uci[2:4], uci[4:]
    piece = squares[start]
    if piece == _EMPTY:
        raise MoveDoesNotFit(board, uci)
    if piece in "Pp" and start[0] != end[0] and squares[end] == _EMPTY:
        squares[end[0] + start[1]] = _EMPTY  # en passant: the pawn taken stands beside, not in front
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
    """The pieces by square, a8 to h1, in the order of the text."""
    text = board.replace("/", "")
    for digit in "12345678":
        text = text.replace(digit, _EMPTY * int(digit))
    return {f"{file}{rank}": piece for (rank, file), piece in zip(_SQUARES, text, strict=True)}


def _text(squares: dict[str, str]) -> str:
    pieces = "".join(squares.values())
    ranks = "/".join(pieces[start : start + 8] for start in range(0, 64, 8))
    for run in range(8, 0, -1):
        ranks = ranks.replace(_EMPTY * run, str(run))
    return ranks


_SQUARES = [(rank, file) for rank in "87654321" for file in "abcdefgh"]
