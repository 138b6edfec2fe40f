"""The real input of the demo: the six games of Kasparov against Deep Blue, 1997, and the parties made of them."""

import json
import random
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

from fifoq.cli.demo.log import Turn

FILE = "kasparov_deep_blue_1997.jsonl"


class Move(NamedTuple):
    """One ply of a game, and the board after it."""

    ply: int
    uci: str
    board: str


class Party(NamedTuple):
    """One of the six games, played under a name of its own."""

    name: str
    moves: tuple[Move, ...]


def games() -> list[tuple[Move, ...]]:
    """Return the six games, each a tuple of its moves in order."""
    found: dict[int, list[Move]] = {}
    for line in files("fifoq.cli.demo").joinpath(FILE).read_text("utf-8").splitlines():
        fact = json.loads(line)
        found.setdefault(fact["game"], []).append(Move(fact["ply"], fact["uci"], fact["board"]))
    return [tuple(moves) for _, moves in sorted(found.items())]


def parties(count: int) -> list[Party]:
    """Return `count` parties: the six games over and over, under the names game-001, game-002, …"""
    six = games()
    return [Party(f"game-{number + 1:03}", six[number % len(six)]) for number in range(count)]


class Plan(NamedTuple):
    """What is sent for one party, in order."""

    party: Party
    turns: tuple[Turn, ...]


def plans(count: int, seed: int, *, mean_work: float, stumbling: float) -> list[Plan]:
    """
    Return what to send for `count` parties: the same for the same seed.

    Each move works for up to twice `mean_work` seconds, evenly spread, so that a later one often ends first when
    nobody holds it back. A share of `stumbling` fails at its first attempt.
    """
    dice = random.Random(seed)
    return [Plan(party, tuple(_turns(party, dice, mean_work, stumbling))) for party in parties(count)]


def _turns(party: Party, dice: random.Random, mean_work: float, stumbling: float) -> Iterator[Turn]:
    for move in party.moves:
        yield Turn(move.ply, move.uci, dice.uniform(0, 2 * mean_work), dice.random() < stumbling)
