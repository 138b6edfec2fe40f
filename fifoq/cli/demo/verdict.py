"""What a performance proves: the claims of the demo, each checked against its numbers. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from fifoq.cli.demo.tally import Kill, Tally

WITHOUT_REASON = "no move ran twice without a reason"
"""A reason is that it failed, or that its worker was killed."""


class Claim(NamedTuple):
    """A sentence about fifoq, what was seen, and whether that bears it out."""

    text: str
    seen: str
    holds: bool


def claims(seen: Tally) -> list[Claim]:
    """Return what fifoq claims, each checked against `seen`. Of moves that were never made nothing is true."""
    made = seen.moves > seen.lost
    checked = (*_order(seen), *_retries(seen), *_parallel(seen), *_processes(seen))
    return [claim._replace(holds=claim.holds and made) for claim in checked]


def _order(seen: Tally) -> Iterator[Claim]:
    yield Claim(
        "no move was lost, none was made twice",
        f"{seen.moves:,} sent, {seen.lost:,} lost, {seen.twice:,} twice",
        seen.lost == 0 and seen.twice == 0,
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


def _processes(seen: Tally) -> Iterator[Claim]:
    """What only a store can show that several processes share."""
    if seen.kill is None:
        yield Claim(WITHOUT_REASON, f"{seen.repeated:,} moves", seen.repeated == 0)
        return
    yield Claim(
        "workers of their own made the moves",
        f"{seen.workers:,} processes, {seen.at_server:,} by the server",
        seen.workers > 1 and seen.at_server == 0,
    )
    yield from _kill(seen, seen.kill)


def _kill(seen: Tally, kill: Kill) -> Iterator[Claim]:
    yield Claim(
        "others took over from a killed worker",
        f"{kill.taken_over:,} of {kill.cut:,} cut off, in {kill.seconds:.1f} s",
        kill.workers > 0 and kill.taken_over == kill.cut > 0,
    )
    yield Claim(
        WITHOUT_REASON,
        f"{kill.repeated:,} as their worker died, {seen.repeated:,} others",
        seen.repeated == 0 and kill.repeated >= kill.cut,
    )
