"""
The verdict on a run: its numbers, from the log and the recorded games, and fifoq's promises checked against them.

All functions are pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from fifoq.cli.demo.boards import Attempt, GameState
from fifoq.cli.demo.client import Run
from fifoq.cli.demo.games import Plan
from fifoq.cli.demo.processes import LEASE, KilledWorker

NOT_AGAIN = "no move ran again without a reason"
"""A reason is that the attempt before failed, or that its worker was killed."""


class Kill(NamedTuple):
    """The effects of killing workers."""

    workers: int
    """Workers that were killed."""
    interrupted: int
    """Moves that were running in them."""
    taken_over: int
    """Interrupted moves that another process ran again."""
    seconds: float
    """From the kill until the last interrupted move ran again."""
    repeated: int
    """
    Moves that ran twice because their worker was killed: the interrupted ones, and those that had ended and were not
    settled yet.
    """


class Summary(NamedTuple):
    """One run in numbers."""

    games: int
    games_right: int
    """Games whose last stored board is the recorded one."""
    moves: int
    """Moves that the server accepted."""
    moves_right: int
    """Moves after which the stored board was the recorded one."""
    in_order: int
    """Moves that were stored right after the one before them in the game."""
    lost: int
    """Moves that no attempt stored."""
    stored_twice: int
    repeated: int
    """Attempts after another one at the same move that neither failed nor was in a killed worker."""
    overlapping: int
    """Attempts that began while another one of the same game was running."""
    no_piece: int
    """Attempts that found no piece to move."""
    planned_failures: int
    """Moves whose first attempt was to fail."""
    recovered: int
    """Moves with a planned failure that a later attempt stored."""
    most_at_once: int
    """Attempts running at the same instant, at most."""
    mean_at_once: float
    seconds: float
    """From the start of the first attempt to the end of the last one."""
    work: float
    """Seconds of work that were sent: the time that one move after another takes at least."""
    workers: int
    """Processes that ran moves, other than the server."""
    at_server: int
    """Attempts that the server's process made."""
    kill: Kill | None
    """None for a run in which no worker was to be killed."""

    @property
    def moves_per_second(self) -> float:
        return self.moves / self.seconds if self.seconds else 0.0

    @property
    def speed_up(self) -> float:
        """The speed against one move after another, without any time between two."""
        return self.work / self.seconds if self.seconds else 0.0


class Promise(NamedTuple):
    """A sentence about fifoq, the numbers seen, and whether they bear it out."""

    text: str
    seen: str
    holds: bool


# ---- numbers ----


class _GameSummary(NamedTuple):
    """The part of one game in a summary: the fields of the same names are sums of these."""

    games_right: int
    moves: int
    moves_right: int
    in_order: int
    lost: int
    stored_twice: int
    repeated: int
    overlapping: int
    no_piece: int
    planned_failures: int
    recovered: int


Killed = dict[int, KilledWorker]
"""The killed workers, by process id."""


def summarize(run: Run) -> Summary:
    """Return the numbers of a run."""
    killed = {worker.worker: worker for worker in run.killed or ()}
    games = [_summarize_game(plan, run.states[plan.game.name], killed) for plan in run.plans]
    logs = [state.log for state in run.states.values()]
    attempts = [attempt for log in logs for attempt in log]
    seconds, most, mean = _concurrency(attempts, killed)
    return Summary(
        games=len(games),
        games_right=sum(game.games_right for game in games),
        moves=sum(game.moves for game in games),
        moves_right=sum(game.moves_right for game in games),
        in_order=sum(game.in_order for game in games),
        lost=sum(game.lost for game in games),
        stored_twice=sum(game.stored_twice for game in games),
        repeated=sum(game.repeated for game in games),
        overlapping=sum(game.overlapping for game in games),
        no_piece=sum(game.no_piece for game in games),
        planned_failures=sum(game.planned_failures for game in games),
        recovered=sum(game.recovered for game in games),
        most_at_once=most,
        mean_at_once=mean,
        seconds=seconds,
        work=sum(request.work for plan in run.plans for request in plan.requests),
        workers=len({attempt.worker for attempt in attempts} - {run.server}),
        at_server=sum(attempt.worker == run.server for attempt in attempts),
        kill=None if run.killed is None else _summarize_kill(logs, killed),
    )


def _summarize_game(plan: Plan, state: GameState, killed: Killed) -> _GameSummary:
    stored = [attempt for attempt in state.log if attempt.board is not None]
    boards = {move.ply: move.board for move in plan.game.moves}
    last_number = {attempt.ply: attempt.number for attempt in stored}
    return _GameSummary(
        games_right=state.board == plan.game.moves[-1].board,
        moves=len(plan.requests),
        moves_right=len({attempt.ply for attempt in stored if attempt.board == boards[attempt.ply]}),
        in_order=sum(ply == before + 1 for before, ply in pairwise([0, *(attempt.ply for attempt in stored)])),
        lost=len(plan.requests) - len(last_number),
        stored_twice=len(stored) - len(last_number),
        repeated=sum(not _has_reason(before, killed) for before, _ in _repeats(state.log)),
        overlapping=_overlapping(state.log, killed),
        no_piece=sum(attempt.outcome == "no piece" for attempt in state.log),
        planned_failures=sum(request.fails_first for request in plan.requests),
        recovered=sum(request.fails_first and last_number.get(request.ply, 0) > 1 for request in plan.requests),
    )


def _repeats(log: Sequence[Attempt]) -> list[tuple[Attempt, Attempt]]:
    """Each attempt that is not the first at its move, with the one before it."""
    attempts = sorted(log, key=lambda attempt: (attempt.ply, attempt.started))
    return [pair for _, same in groupby(attempts, key=lambda attempt: attempt.ply) for pair in pairwise(same)]


def _has_reason(before: Attempt, killed: Killed) -> bool:
    """Whether a move had to run again after this attempt."""
    return before.outcome in ("failed", "no piece") or before.worker in killed


def _summarize_kill(logs: Iterable[Sequence[Attempt]], killed: Killed) -> Kill:
    interrupted = taken_over = repeated = 0
    seconds = 0.0
    for log in logs:
        repeats = [pair for pair in _repeats(log) if pair[0].outcome != "failed" and pair[0].worker in killed]
        repeated += len(repeats)
        interrupted += sum(attempt.ended is None and attempt.worker in killed for attempt in log)
        for before, after in repeats:
            worker = killed[before.worker]
            if before.ended is None and after.started > worker.dead and after.worker != before.worker:
                taken_over += 1
                seconds = max(seconds, after.started - worker.signalled)
    return Kill(len(killed), interrupted, taken_over, seconds, repeated)


def _end(attempt: Attempt, killed: Killed) -> float:
    """When an attempt was over for sure: without an end of its own, when its process was dead, or never."""
    if attempt.ended is not None:
        return attempt.ended
    return killed[attempt.worker].dead if attempt.worker in killed else float("inf")


def _overlapping(log: Sequence[Attempt], killed: Killed) -> int:
    count, latest_end = 0, float("-inf")
    for attempt in sorted(log, key=lambda each: each.started):
        count += attempt.started < latest_end
        latest_end = max(latest_end, _end(attempt, killed))
    return count


def _concurrency(attempts: list[Attempt], killed: Killed) -> tuple[float, int, float]:
    """Return (seconds from the first start to the last end, most attempts at once, mean of attempts at once)."""
    spans = [(attempt.started, end) for attempt in attempts if (end := _end(attempt, killed)) < float("inf")]
    if not spans:
        return 0.0, 0, 0.0
    # At the same instant an end sorts before a start: an attempt that follows another directly does not overlap it.
    edges = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    running = most = 0
    for _, step in edges:
        running += step
        most = max(most, running)
    seconds = edges[-1][0] - edges[0][0]
    return seconds, most, sum(end - start for start, end in spans) / seconds if seconds else 0.0


# ---- promises ----


def check(summary: Summary) -> list[Promise]:
    """Return fifoq's promises, each checked against the numbers. Without any stored move none of them holds."""
    stored = summary.moves > summary.lost
    checked = (*_order(summary), *_retries(summary), *_parallel(summary), *_processes(summary))
    return [promise._replace(holds=promise.holds and stored) for promise in checked]


def _order(summary: Summary) -> Iterator[Promise]:
    yield Promise(
        "no move was lost or stored twice",
        f"{summary.moves:,} sent, {summary.lost:,} lost, {summary.stored_twice:,} stored twice",
        summary.lost == 0 and summary.stored_twice == 0,
    )
    yield Promise(
        "each game was played in order",
        f"{summary.in_order:,} of {summary.moves:,} moves",
        summary.in_order == summary.moves,
    )
    yield Promise(
        "one move of a game ran at a time", f"{summary.overlapping:,} moves overlapped", summary.overlapping == 0
    )
    yield Promise(
        "the board was right after each move",
        f"{summary.moves_right:,} of {summary.moves:,} moves, {summary.games_right:,} of {summary.games:,} games",
        summary.moves_right == summary.moves and summary.games_right == summary.games,
    )


def _retries(summary: Summary) -> Iterator[Promise]:
    if summary.planned_failures:
        yield Promise(
            "failed moves were retried in place",
            f"{summary.recovered:,} of {summary.planned_failures:,} planned failures",
            summary.recovered == summary.planned_failures and summary.in_order == summary.moves,
        )


def _parallel(summary: Summary) -> Iterator[Promise]:
    if summary.games > 1:  # a single game has no other one beside it, so there is nothing to promise
        yield Promise(
            "games were played side by side",
            f"{summary.most_at_once} moves at once at most, mean {summary.mean_at_once:.1f}",
            summary.most_at_once > 1,
        )


def _processes(summary: Summary) -> Iterator[Promise]:
    """The promises that need a store which several processes share."""
    if summary.kill is None:
        yield Promise(NOT_AGAIN, f"{summary.repeated:,} moves ran again", summary.repeated == 0)
        return
    yield Promise(
        "worker processes ran all moves",
        f"{summary.workers:,} processes; {summary.at_server:,} moves in the server",
        summary.workers > 1 and summary.at_server == 0,
    )
    yield from _after_kill(summary, summary.kill)


def _after_kill(summary: Summary, kill: Kill) -> Iterator[Promise]:
    yield Promise(
        "others took over from a killed worker",
        f"{kill.taken_over:,} of {kill.interrupted:,} moves, in {kill.seconds:.1f} s (lease {LEASE:g} s)",
        kill.workers > 0 and kill.taken_over == kill.interrupted > 0,
    )
    yield Promise(
        NOT_AGAIN,
        f"{kill.repeated:,} moves after the kill, {summary.repeated:,} others",
        summary.repeated == 0 and kill.repeated >= kill.interrupted,
    )
