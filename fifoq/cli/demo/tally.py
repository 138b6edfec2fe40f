"""A performance in numbers, from the log and the games' record. Pure: it judges nothing."""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from fifoq.cli.demo.games import Plan
from fifoq.cli.demo.log import Entry
from fifoq.cli.demo.performance import Facts, Performance
from fifoq.cli.demo.stage import Casualty


class Kill(NamedTuple):
    """What the killing of workers did."""

    workers: int
    """Workers that were killed."""
    cut: int
    """Moves that they were killed in."""
    taken_over: int
    """Those of them that another process began anew."""
    seconds: float
    """From the kill until the last of them was taken over."""
    repeated: int
    """Moves that ran twice because their worker was killed: the ones cut off, and those whose end nobody heard of."""


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
    twice: int
    """Moves that were stored a second time."""
    repeated: int
    """Attempts that follow another one of their move, though that neither failed nor was its worker killed."""
    overlapping: int
    """Attempts that began while another one of the same game was running."""
    misfits: int
    """Attempts that found no piece to move."""
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
    workers: int
    """Processes that made attempts, other than the server."""
    at_server: int
    """Attempts that the server's process made."""
    kill: Kill | None
    """None: nobody was to be killed."""

    @property
    def moves_per_second(self) -> float:
        return self.moves / self.seconds if self.seconds else 0.0

    @property
    def speed_up(self) -> float:
        """Against one move at a time that wastes nothing between two."""
        return self.work / self.seconds if self.seconds else 0.0


class _Game(NamedTuple):
    """One party's part in the tally."""

    right: bool
    moves: int
    moves_right: int
    in_order: int
    lost: int
    twice: int
    repeated: int
    overlapping: int
    misfits: int
    stumbling: int
    recovered: int


Deaths = dict[int, Casualty]


def tally(performance: Performance) -> Tally:
    """Return the numbers of a performance."""
    deaths = {casualty.worker: casualty for casualty in performance.casualties or ()}
    games = [_game(plan, performance.facts[plan.party.name], deaths) for plan in performance.plans]
    logs = [facts.log for facts in performance.facts.values()]
    entries = [entry for log in logs for entry in log]
    seconds, most, mean = _concurrency(entries, deaths)
    return Tally(
        games=len(games),
        games_right=sum(game.right for game in games),
        moves=sum(game.moves for game in games),
        moves_right=sum(game.moves_right for game in games),
        in_order=sum(game.in_order for game in games),
        lost=sum(game.lost for game in games),
        twice=sum(game.twice for game in games),
        repeated=sum(game.repeated for game in games),
        overlapping=sum(game.overlapping for game in games),
        misfits=sum(game.misfits for game in games),
        stumbling=sum(game.stumbling for game in games),
        recovered=sum(game.recovered for game in games),
        most_at_once=most,
        mean_at_once=mean,
        seconds=seconds,
        work=sum(turn.work for plan in performance.plans for turn in plan.turns),
        workers=len({entry.worker for entry in entries} - {performance.server}),
        at_server=sum(entry.worker == performance.server for entry in entries),
        kill=None if performance.casualties is None else _kill(logs, deaths),
    )


def _game(plan: Plan, facts: Facts, deaths: Deaths) -> _Game:
    made = [entry for entry in facts.log if entry.board is not None]
    boards = {move.ply: move.board for move in plan.party.moves}
    last_attempt = {entry.ply: entry.attempt for entry in made}
    return _Game(
        right=facts.board == plan.party.moves[-1].board,
        moves=len(plan.turns),
        moves_right=len({entry.ply for entry in made if entry.board == boards[entry.ply]}),
        in_order=sum(ply == before + 1 for before, ply in pairwise([0, *(entry.ply for entry in made)])),
        lost=len(plan.turns) - len(last_attempt),
        twice=len(made) - len(last_attempt),
        repeated=sum(not _has_cause(before, deaths) for before, _ in _repeats(facts.log)),
        overlapping=_overlapping(facts.log, deaths),
        misfits=sum(entry.outcome == "misfit" for entry in facts.log),
        stumbling=sum(turn.stumbles for turn in plan.turns),
        recovered=sum(turn.stumbles and last_attempt.get(turn.ply, 0) > 1 for turn in plan.turns),
    )


def _repeats(log: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """Each attempt that is not the first of its move, with the one before it."""
    attempts = sorted(log, key=lambda entry: (entry.ply, entry.started))
    return [pair for _, same in groupby(attempts, key=lambda entry: entry.ply) for pair in pairwise(same)]


def _has_cause(before: Entry, deaths: Deaths) -> bool:
    """Whether a move had to be tried again after this attempt."""
    return before.outcome in ("stumbled", "misfit") or before.worker in deaths


def _kill(logs: Iterable[Sequence[Entry]], deaths: Deaths) -> Kill:
    cut = taken_over = repeated = 0
    seconds = 0.0
    for log in logs:
        repeats = [pair for pair in _repeats(log) if pair[0].outcome != "stumbled" and pair[0].worker in deaths]
        repeated += len(repeats)
        cut += sum(entry.ended is None and entry.worker in deaths for entry in log)
        for before, after in repeats:
            death = deaths[before.worker]
            if before.ended is None and after.started > death.dead and after.worker != before.worker:
                taken_over += 1
                seconds = max(seconds, after.started - death.struck)
    return Kill(len(deaths), cut, taken_over, seconds, repeated)


def _end(entry: Entry, deaths: Deaths) -> float:
    """When an attempt was over for sure: one without an end ended with its process, or never."""
    if entry.ended is not None:
        return entry.ended
    return deaths[entry.worker].dead if entry.worker in deaths else float("inf")


def _overlapping(log: Sequence[Entry], deaths: Deaths) -> int:
    count, latest_end = 0, float("-inf")
    for entry in sorted(log, key=lambda each: each.started):
        count += entry.started < latest_end
        latest_end = max(latest_end, _end(entry, deaths))
    return count


def _concurrency(entries: list[Entry], deaths: Deaths) -> tuple[float, int, float]:
    """Return (seconds from the first start to the last end, how many at once at most, how many on average)."""
    spans = [(entry.started, end) for entry in entries if (end := _end(entry, deaths)) < float("inf")]
    if not spans:
        return 0.0, 0, 0.0
    # At one instant an end sorts before a start: back to back is not at once.
    edges = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    running = most = 0
    for _, step in edges:
        running += step
        most = max(most, running)
    seconds = edges[-1][0] - edges[0][0]
    return seconds, most, sum(end - start for start, end in spans) / seconds if seconds else 0.0
