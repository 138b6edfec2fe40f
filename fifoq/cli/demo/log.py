"""What passes between the demo's client and its server besides the game's name: turns go in, the log comes out."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Turn:
    """One move of a game, and how its job is to behave."""

    ply: int
    uci: str
    work: float
    """Seconds that the job takes."""
    stumbles: bool
    """Its first attempt fails."""


class Entry(NamedTuple):
    """One attempt at one move, as the server logged it at its end."""

    ply: int
    attempt: int
    started: float
    """Seconds on the server's clock."""
    ended: float
    board: str | None
    """The board that it stored; None: the attempt failed."""
