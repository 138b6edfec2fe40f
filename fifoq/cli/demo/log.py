"""What passes between the demo's client and its server besides the game's name: turns go in, the log comes out."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Outcome = Literal["made", "stumbled", "misfit", "made before", "stale"]
"""How an attempt ended: the last two found that somebody else had been faster, and changed nothing."""


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
    """One attempt at one move, as it was logged at its beginning and at its end."""

    ply: int
    attempt: int
    worker: int
    """The id of the process that made the attempt."""
    started: float
    """Seconds on the clock that all processes of a machine share."""
    ended: float | None
    """None: it never ended, its process was killed in the midst of it."""
    outcome: Outcome | None
    board: str | None
    """The board that it stored, if it did."""
