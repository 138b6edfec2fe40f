"""What a performance proves: counts and claims, from the server's log and the games' record. Pure."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from fifoq.cli.demo.games import Plan
from fifoq.cli.demo.log import Entry
from fifoq.cli.demo.performance import Facts, Performance


class Tally(NamedTuple):
    """One performance in numbers."""

    games: int
    games_right: int
    """Games whose last stored board is the one on record."""
    moves: int
    """Moves that the server accepted."""
    moves_right: int
    """Moves after which the stored board was the one on record."""
    in_order: int
    """Moves made right after the one before them in the game."""
    lost: int
    repeated: int
    """Moves made a second time."""
    overlapping: int
    """Attempts that began while another one of the same game was running."""
    stumbling: int
    """Moves that were sent to fail at first."""
    recovered: int
    """Those of them that a later attempt made."""
    most_at_once: int
    """Attempts running at the same instant, at most."""
    mean_at_once: float
    seconds: float
    """From the first attempt's start to the last one's end."""
    work: float
    """Seconds of work that were sent: what one move at a time takes at least."""

    @property
    def moves_per_second(self) -> float:
        return self.moves / self.seconds if self.seconds else 0.0

    @property
    def speed_up(self) -> float:
        """Against one move at a time that wastes nothing between two."""
        return self.work / self.seconds if self.seconds else 0.0


class Claim(NamedTuple):
    """A sentence about fifoq, what was seen, and whether that bears it out."""

    text: str
    seen: str
    holds: bool


class _Game(NamedTuple):
    """One party's part in the tally."""

    right: bool
    moves: int
    moves_right: int
    in_order: int
    lost: int
    repeated: int
    overlapping: int
    stumbling: int
    recovered: int


def tally(performance: Performance) -> Tally:
    """Return the numbers of a performance."""
    games = [_game(plan, performance.facts[plan.party.name]) for plan in performance.plans]
    entries = [entry for facts in performance.facts.values() for entry in facts.log]
    seconds, most, mean = _concurrency(entries)
    return Tally(
        games=len(games),
        games_right=sum(game.right for game in games),
        moves=sum(game.moves for game in games),
        moves_right=sum(game.moves_right for game in games),
        in_order=sum(game.in_order for game in games),
        lost=sum(game.lost for game in games),
        repeated=sum(game.repeated for game in games),
        overlapping=sum(game.overlapping for game in games),
        stumbling=sum(game.stumbling for game in games),
        recovered=sum(game.recovered for game in games),
        most_at_once=most,
        mean_at_once=mean,
        seconds=seconds,
        work=sum(turn.work for plan in performance.plans for turn in plan.turns),
    )


def claims(seen: Tally) -> list[Claim]:
    """Return what fifoq claims, each checked against `seen`. Of moves that were never made nothing is true."""
    made = seen.moves > seen.lost
    checked = (*_order(seen), *_retries(seen), *_parallel(seen))
    return [claim._replace(holds=claim.holds and made) for claim in checked]


def _order(seen: Tally) -> Iterator[Claim]:
    yield Claim(
        "no move was lost, none was made twice",
        f"{seen.moves:,} sent, {seen.lost:,} lost, {seen.repeated:,} twice",
        seen.lost == 0 and seen.repeated == 0,
    )
    yield Claim(
        "each game was played in order",
        f"{seen.in_order:,} of {seen.moves:,} moves",
        seen.in_order == seen.moves,
    )
    yield Claim("one move of a game at a time", f"{seen.overlapping:,} overlaps", seen.overlapping == 0)
    yield Claim(
        "every board is right, on the way too",
        f"{seen.moves_right:,} of {seen.moves:,}, final {seen.games_right:,} of {seen.games:,}",
        seen.moves_right == seen.moves and seen.games_right == seen.games,
    )


def _retries(seen: Tally) -> Iterator[Claim]:
    if seen.stumbling:
        yield Claim(
            "a failed move was retried at its place",
            f"{seen.recovered:,} of {seen.stumbling:,} planted failures",
            seen.recovered == seen.stumbling and seen.in_order == seen.moves,
        )


def _parallel(seen: Tally) -> Iterator[Claim]:
    if seen.games > 1:  # one game alone has nothing beside it: then nothing is claimed
        yield Claim(
            "games were played side by side",
            f"{seen.most_at_once} at once at most, {seen.mean_at_once:.1f} on average",
            seen.most_at_once > 1,
        )


def _game(plan: Plan, facts: Facts) -> _Game:
    made = [entry for entry in facts.log if entry.board is not None]
    boards = {move.ply: move.board for move in plan.party.moves}
    last_attempt = {entry.ply: entry.attempt for entry in made}
    return _Game(
        right=facts.board == plan.party.moves[-1].board,
        moves=len(plan.turns),
        moves_right=len({entry.ply for entry in made if entry.board == boards[entry.ply]}),
        in_order=sum(ply == before + 1 for before, ply in pairwise([0, *(entry.ply for entry in made)])),
        lost=len(plan.turns) - len(last_attempt),
        repeated=len(made) - len(last_attempt),
        overlapping=_overlapping(facts.log),
        stumbling=sum(turn.stumbles for turn in plan.turns),
        recovered=sum(turn.stumbles and last_attempt.get(turn.ply, 0) > 1 for turn in plan.turns),
    )


def _overlapping(log: Sequence[Entry]) -> int:
    count, latest_end = 0, float("-inf")
    for entry in sorted(log, key=lambda each: each.started):
        count += entry.started < latest_end
        latest_end = max(latest_end, entry.ended)
    return count


def _concurrency(entries: list[Entry]) -> tuple[float, int, float]:
    """Return (seconds from the first start to the last end, how many at once at most, how many on average)."""
    if not entries:
        return 0.0, 0, 0.0
    # At one instant an end sorts before a start: back to back is not at once.
    edges = sorted([(entry.started, 1) for entry in entries] + [(entry.ended, -1) for entry in entries])
    running = most = 0
    for _, step in edges:
        running += step
        most = max(most, running)
    seconds = edges[-1][0] - edges[0][0]
    return seconds, most, sum(entry.ended - entry.started for entry in entries) / seconds if seconds else 0.0
