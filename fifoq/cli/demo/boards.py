"""
The stored boards, and the log of what was done to them: the "database of your own" of the demo, shared by processes.

A file per game, to which each attempt adds a line as it begins and one as it ends; the last board in it is the stored
one. So board and log never disagree, and what a killed process wrote is there. It judges nothing: verdict.py does.
"""

import asyncio
import fcntl
import itertools
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from fifoq.cli.demo.board import START, MoveDoesNotFit, play
from fifoq.cli.demo.log import Entry, Outcome, Turn

_RUNS = itertools.count()


class Stumble(Exception):
    """The failure that the demo plants in some first attempts."""


class Began(NamedTuple):
    """The line of an attempt that begins."""

    run: str
    """Which attempt of which process."""
    ply: int
    attempt: int
    worker: int
    fence: int
    started: float


class Ended(NamedTuple):
    """The line of an attempt that ends."""

    run: str
    outcome: Outcome
    ended: float
    board: str | None


class Boards:
    """The files of all games in one folder. Slow on purpose: each move works for a while between its two lines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    async def apply(self, game: str, turn: Turn, attempt: int = 1, fence: int = 0) -> None:
        """
        Read the board, work, store the board after the move: what another move stores meanwhile is overwritten.

        A move that is stored already is left alone, and so is the board once a larger `fence` has been here: the two
        things that a task should see to where jobs run at least once. Raises Stumble and MoveDoesNotFit.
        """
        run = f"{os.getpid()}.{next(_RUNS)}"
        board = self._begin(game, Began(run, turn.ply, attempt, os.getpid(), fence, time.monotonic()))
        if board is None:
            return
        await asyncio.sleep(turn.work)
        if turn.stumbles and attempt == 1:
            self._end(game, run, "stumbled")
            raise Stumble(f"ply {turn.ply} of {game} stumbles")
        try:
            after = play(board, turn.uci)
        except MoveDoesNotFit:
            self._end(game, run, "misfit")
            raise
        self._end(game, run, "made", after, fence)

    def facts(self, game: str) -> dict[str, Any]:
        """Return all that is known of one game: the board, and the log in the order of the ends."""
        with self._open(game) as file:
            lines = list(_read(file))
        begun = {line.run: line for line in lines if isinstance(line, Began)}
        ends = [line for line in lines if isinstance(line, Ended)]
        log = [_entry(begun.pop(end.run), end) for end in ends]
        log += [_entry(began, None) for began in begun.values()]
        return {"board": _board(lines), "log": log}

    def _begin(self, game: str, began: Began) -> str | None:
        """Note that an attempt begins; return the stored board, or None if there is nothing to do."""
        with self._open(game) as file:
            lines = list(_read(file))
            _write(file, began)
            if _is_made(lines, began.ply):
                _write(file, Ended(began.run, "made before", time.monotonic(), None))
                return None
            return _board(lines)

    def _end(self, game: str, run: str, outcome: Outcome, board: str | None = None, fence: int = 0) -> None:
        with self._open(game) as file:
            if board is not None and any(isinstance(line, Began) and line.fence > fence for line in _read(file)):
                outcome, board = "stale", None
            _write(file, Ended(run, outcome, time.monotonic(), board))

    @contextmanager
    def _open(self, game: str) -> Generator[IO[str]]:
        """The game's file, under a lock that the kernel takes from a process that dies."""
        with (self._folder / game).open("a+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _read(file: IO[str]) -> Iterator[Began | Ended]:
    file.seek(0)
    for line in file:
        kind, run, *fields = line.rstrip("\n").split("\t")
        if kind == "began":
            yield Began(run, int(fields[0]), int(fields[1]), int(fields[2]), int(fields[3]), float(fields[4]))
        else:
            yield Ended(run, fields[0], float(fields[1]), fields[2] or None)  # pyright: ignore[reportArgumentType]


def _write(file: IO[str], line: Began | Ended) -> None:
    kind = "began" if isinstance(line, Began) else "ended"
    file.write("\t".join([kind, *("" if field is None else str(field) for field in line)]) + "\n")
    file.flush()  # in one write: all of the line is there, or nothing


def _is_made(lines: list[Began | Ended], ply: int) -> bool:
    runs = {line.run for line in lines if isinstance(line, Began) and line.ply == ply}
    return any(isinstance(line, Ended) and line.board is not None and line.run in runs for line in lines)


def _board(lines: list[Began | Ended]) -> str:
    return next((line.board for line in reversed(lines) if isinstance(line, Ended) and line.board), START)


def _entry(began: Began, end: Ended | None) -> Entry:
    outcome, ended, board = (end.outcome, end.ended, end.board) if end else (None, None, None)
    return Entry(began.ply, began.attempt, began.worker, began.started, ended, outcome, board)
