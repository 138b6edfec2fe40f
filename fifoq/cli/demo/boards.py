"""
The stored boards and the log of all attempts: the demo's database, which its processes share.

Each game has a file. An attempt appends a line when it begins and another when it ends; the last board in the file is
the stored one. So board and log always agree, and the lines of a killed process stay.
"""

import asyncio
import fcntl
import itertools
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, NamedTuple, cast

from fifoq.cli.demo.games import START, MoveDoesNotFit, MoveRequest, board_after

Outcome = Literal["stored", "failed", "no piece", "stored before", "stale"]
"""
How an attempt ended: it stored the board, it failed as planned, or there was no piece to move. The last two changed
nothing: the move was stored already, or an attempt with a larger fence had begun.
"""

_ATTEMPTS = itertools.count()


class Attempt(NamedTuple):
    """One attempt at one move, as logged at its beginning and at its end."""

    ply: int
    number: int
    """1 for the first attempt at the move, by the count of the caller."""
    worker: int
    """The id of the process that made the attempt."""
    started: float
    """Seconds on the monotonic clock, which all processes of a machine share."""
    ended: float | None
    """None for an attempt without an end: it is still running, or its process was killed."""
    outcome: Outcome | None
    board: str | None
    """The board that the attempt stored, if any."""


class GameState(NamedTuple):
    """The stored board of a game, and the attempts at its moves."""

    board: str
    log: tuple[Attempt, ...]
    """In the order of the ends; attempts without an end follow."""


class PlannedFailure(Exception):
    """The failure of the first attempt at a move, as its request demands."""


class Began(NamedTuple):
    """The line that an attempt writes when it begins."""

    id: str
    """Unique among all attempts of all processes."""
    ply: int
    number: int
    worker: int
    fence: int
    started: float


class Ended(NamedTuple):
    """The line that an attempt writes when it ends."""

    id: str
    outcome: Outcome
    ended: float
    board: str | None


class Boards:
    """The files of all games, in one folder. Slow on purpose: each move takes a while between its two lines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    async def apply(self, game: str, move: MoveRequest, number: int = 1, fence: int = 0) -> None:
        """
        Read the board, work, and store the board after the move, over a board that was stored in between.

        Nothing changes if the move is stored already, or if an attempt with a larger `fence` has begun: a task checks
        these two where jobs run at least once. Raises PlannedFailure and MoveDoesNotFit.
        """
        id = f"{os.getpid()}.{next(_ATTEMPTS)}"
        board = self._begin(game, Began(id, move.ply, number, os.getpid(), fence, time.monotonic()))
        if board is None:
            return
        await asyncio.sleep(move.work)
        if move.fails_first and number == 1:
            self._end(game, id, "failed")
            raise PlannedFailure(f"the first attempt at ply {move.ply} of {game} fails")
        try:
            after = board_after(board, move.uci)
        except MoveDoesNotFit:
            self._end(game, id, "no piece")
            raise
        self._end(game, id, "stored", after, fence)

    def state(self, game: str) -> GameState:
        """Return the stored board and the log of one game."""
        with self._open(game) as file:
            lines = list(_read(file))
        begun = {line.id: line for line in lines if isinstance(line, Began)}
        ends = [line for line in lines if isinstance(line, Ended)]
        log = [_attempt(begun.pop(end.id), end) for end in ends]
        log += [_attempt(began, None) for began in begun.values()]
        return GameState(_board(lines), tuple(log))

    def _begin(self, game: str, began: Began) -> str | None:
        """Write that an attempt begins; return the stored board, or None if the move is stored already."""
        with self._open(game) as file:
            lines = list(_read(file))
            _write(file, began)
            if _is_stored(lines, began.ply):
                _write(file, Ended(began.id, "stored before", time.monotonic(), None))
                return None
            return _board(lines)

    def _end(self, game: str, id: str, outcome: Outcome, board: str | None = None, fence: int = 0) -> None:
        with self._open(game) as file:
            if board is not None and any(isinstance(line, Began) and line.fence > fence for line in _read(file)):
                outcome, board = "stale", None
            _write(file, Ended(id, outcome, time.monotonic(), board))

    @contextmanager
    def _open(self, game: str) -> Generator[IO[str]]:
        """The game's file, under a lock that the kernel releases when the process dies."""
        with (self._folder / game).open("a+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


# ---- the lines of a file ----


def _read(file: IO[str]) -> Iterator[Began | Ended]:
    file.seek(0)
    for line in file:
        kind, id, *fields = line.rstrip("\n").split("\t")
        if kind == "began":
            yield Began(id, int(fields[0]), int(fields[1]), int(fields[2]), int(fields[3]), float(fields[4]))
        else:
            yield Ended(id, cast("Outcome", fields[0]), float(fields[1]), fields[2] or None)


def _write(file: IO[str], line: Began | Ended) -> None:
    kind = "began" if isinstance(line, Began) else "ended"
    file.write("\t".join([kind, *("" if field is None else str(field) for field in line)]) + "\n")
    file.flush()  # in one write: the file gets the whole line or nothing


def _is_stored(lines: list[Began | Ended], ply: int) -> bool:
    attempts = {line.id for line in lines if isinstance(line, Began) and line.ply == ply}
    return any(isinstance(line, Ended) and line.board is not None and line.id in attempts for line in lines)


def _board(lines: list[Began | Ended]) -> str:
    return next((line.board for line in reversed(lines) if isinstance(line, Ended) and line.board), START)


def _attempt(began: Began, end: Ended | None) -> Attempt:
    outcome, ended, board = (end.outcome, end.ended, end.board) if end else (None, None, None)
    return Attempt(began.ply, began.number, began.worker, began.started, ended, outcome, board)
