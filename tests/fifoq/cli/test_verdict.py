"""The verdict sees each fault that a performance may have: every check is shown to fail."""

from collections.abc import Callable

import pytest

from fifoq.cli.demo.games import Plan, plans
from fifoq.cli.demo.log import Entry
from fifoq.cli.demo.performance import Facts, Performance
from fifoq.cli.demo.stage import Casualty
from fifoq.cli.demo.tally import tally
from fifoq.cli.demo.verdict import WITHOUT_REASON, claims

Log = list[Entry]

SERVER, KILLED, OTHER = 1, 2, 3
LONG = 2.0
"""Seconds until the move that a killed worker was in is taken over."""


def perfect_log(plan: Plan, started: float, worker: int = OTHER) -> Log:
    log = list[Entry]()
    for turn, move in zip(plan.turns, plan.party.moves, strict=True):
        for attempt in (1, 2) if turn.stumbles else (1,):
            failed = turn.stumbles and attempt == 1
            ended, outcome = started + turn.work, "stumbled" if failed else "made"
            log.append(Entry(turn.ply, attempt, worker, started, ended, outcome, None if failed else move.board))
            started = ended
    return log


def performance(spoil: Callable[[Log], object] = lambda log: None, *, one_at_a_time: bool = False) -> Performance:
    """Six games, made by one process that nobody kills, with a fault in one of them."""
    planned = plans(6, seed=7, mean_work=0.01, stumbling=0.05)
    started, logs = 0.0, dict[str, Log]()
    for plan in planned:
        log = logs[plan.party.name] = perfect_log(plan, started)
        started = log[-1].ended or 0.0 if one_at_a_time else 0.0
    spoil(logs["game-003"])
    return Performance(planned, facts_of(logs), SERVER)


def with_a_kill(spoil: Callable[[Log], object] = lambda log: None, *, casualties: int = 1) -> Performance:
    """The same, with a worker killed in the twelfth attempt of each game: another one makes the rest, a while later."""
    planned = plans(6, seed=7, mean_work=0.01, stumbling=0.0)
    # All games get so far at the same moment.
    logs = {plan.party.name: perfect_log(plan, -sum(turn.work for turn in plan.turns[:11])) for plan in planned}
    for name, log in logs.items():
        cut = log[11]._replace(worker=KILLED, ended=None, outcome=None, board=None)
        before = [entry._replace(worker=KILLED) for entry in log[:11]]
        after = [entry._replace(started=entry.started + LONG, ended=entry.ended + LONG) for entry in log[11:]]
        logs[name] = [*before, after[0]._replace(attempt=2), *after[1:], cut]
    spoil(logs["game-003"])
    dead = (Casualty(KILLED, 0.0, 0.001),)[:casualties]
    return Performance(planned, facts_of(logs), SERVER, dead)


def facts_of(logs: dict[str, Log]) -> dict[str, Facts]:
    return {name: Facts(last_board(log), tuple(log)) for name, log in logs.items()}


def last_board(log: Log) -> str:
    return next(entry.board for entry in reversed(log) if entry.board is not None)


def failing(played: Performance) -> set[str]:
    return {claim.text for claim in claims(tally(played)) if not claim.holds}


def test_a_perfect_performance_bears_out_every_claim() -> None:
    seen = tally(performance())
    assert all(claim.holds for claim in claims(seen))
    assert len(claims(seen)) == 7
    assert (seen.games, seen.moves, seen.lost, seen.twice, seen.repeated, seen.overlapping) == (6, 519, 0, 0, 0, 0)
    assert seen.most_at_once == 6
    assert seen.stumbling > 5
    assert seen.speed_up > 3


def lose_the_last(log: Log) -> None:
    log.pop()


def repeat_one(log: Log) -> None:
    log.append(log[-1]._replace(started=log[-1].ended, ended=log[-1].ended + 1))


def begin_one_again(log: Log) -> None:
    """Another worker found it made."""
    log.append(log[-1]._replace(started=log[-1].ended, ended=log[-1].ended + 1, outcome="made before", board=None))


def never_end(log: Log) -> None:
    log.append(log[5]._replace(ended=None, outcome=None, board=None))


def swap_two(log: Log) -> None:
    first, second = log[3], log[4]
    log[3:5] = [
        second._replace(started=first.started, ended=first.ended),
        first._replace(started=first.ended, ended=second.ended),
    ]


def overlap_two(log: Log) -> None:
    log[5] = log[5]._replace(started=log[4].started)


def spoil_a_board(log: Log) -> None:
    log[5] = log[5]._replace(board="8/8/8/8/8/8/8/8")


def give_up_after_a_failure(log: Log) -> None:
    retried = next(index for index, entry in enumerate(log) if entry.attempt == 2)
    log[retried] = log[retried]._replace(attempt=1)


@pytest.mark.parametrize(
    ("spoil", "claim"),
    [
        (lose_the_last, "no move was lost, none was made twice"),
        (repeat_one, "no move was lost, none was made twice"),
        (repeat_one, WITHOUT_REASON),
        (begin_one_again, WITHOUT_REASON),
        (never_end, "one move of a game at a time"),
        (swap_two, "each game was played in order"),
        (overlap_two, "one move of a game at a time"),
        (spoil_a_board, "every board is right, on the way too"),
        (give_up_after_a_failure, "a failed move was retried at its place"),
    ],
)
def test_a_planted_fault_breaks_its_claim(spoil: Callable[[Log], object], claim: str) -> None:
    assert claim in failing(performance(spoil))


def test_a_worker_killed_midway_bears_out_every_claim() -> None:
    seen = tally(with_a_kill())
    assert [claim for claim in claims(seen) if not claim.holds] == []
    assert len(claims(seen)) == 8
    assert seen.workers == 2
    assert seen.kill is not None
    assert (seen.kill.workers, seen.kill.cut, seen.kill.taken_over, seen.kill.repeated) == (1, 6, 6, 6)
    assert LONG - 0.1 < seen.kill.seconds < LONG + 0.1


def test_a_move_made_and_not_settled_when_its_worker_was_killed_may_run_again() -> None:
    def find_it_made(log: Log) -> None:
        log.append(log[10]._replace(worker=OTHER, attempt=2, started=1.0, ended=1.0, outcome="made before", board=None))

    seen = tally(with_a_kill(find_it_made))
    assert all(claim.holds for claim in claims(seen))
    assert seen.kill is not None
    assert (seen.kill.cut, seen.kill.repeated) == (6, 7)


def never_take_over(log: Log) -> None:
    del log[11:-1]


def take_over_too_soon(log: Log) -> None:
    log[11] = log[11]._replace(started=0.0005)


def go_on_after_death(log: Log) -> None:
    log[11] = log[11]._replace(worker=KILLED)


def begin_another_again(log: Log) -> None:
    log.append(log[20]._replace(started=log[20].ended, ended=log[20].ended, outcome="made before", board=None))


def make_one_in_the_server(log: Log) -> None:
    log[20] = log[20]._replace(worker=SERVER)


@pytest.mark.parametrize(
    ("spoil", "claim"),
    [
        (never_take_over, "others took over from a killed worker"),
        (never_take_over, "no move was lost, none was made twice"),
        (take_over_too_soon, "others took over from a killed worker"),
        (take_over_too_soon, "one move of a game at a time"),
        (go_on_after_death, "others took over from a killed worker"),
        (begin_another_again, WITHOUT_REASON),
        (never_end, "one move of a game at a time"),
        (make_one_in_the_server, "workers of their own made the moves"),
    ],
)
def test_a_fault_planted_beside_a_kill_breaks_its_claim(spoil: Callable[[Log], object], claim: str) -> None:
    assert claim in failing(with_a_kill(spoil))


def test_nobody_killed_is_no_kill_survived() -> None:
    assert {"others took over from a killed worker", WITHOUT_REASON} <= failing(with_a_kill(casualties=0))


def test_a_kill_that_cut_nothing_off_proves_nothing() -> None:
    played = performance()._replace(casualties=(Casualty(KILLED, 0.0, 0.0),))
    assert "others took over from a killed worker" in failing(played)


def test_games_one_after_another_are_not_called_parallel() -> None:
    assert failing(performance(one_at_a_time=True)) == {"games were played side by side"}


def test_an_attempt_inside_a_long_one_is_an_overlap_wherever_it_stands() -> None:
    def stretch_the_first(log: Log) -> None:
        log[0] = log[0]._replace(ended=log[10].started)

    assert tally(performance(stretch_the_first)).overlapping >= 9


def test_nothing_played_proves_nothing() -> None:
    sent = performance()
    unplayed = Performance(sent.plans, {name: Facts("", ()) for name in sent.facts}, SERVER)
    for nothing in (unplayed, unplayed._replace(casualties=()), Performance([], {}, SERVER)):
        assert not any(claim.holds for claim in claims(tally(nothing)))


def test_one_game_alone_claims_nothing_of_others() -> None:
    played = performance()
    alone = Performance(played.plans[:1], {"game-001": played.facts["game-001"]}, SERVER)
    claimed = claims(tally(alone))
    assert "games were played side by side" not in {claim.text for claim in claimed}
    assert all(claim.holds for claim in claimed)


def test_the_same_seed_plans_the_same_performance() -> None:
    assert plans(7, 3, mean_work=0.01, stumbling=0.1) == plans(7, 3, mean_work=0.01, stumbling=0.1)
    assert plans(7, 3, mean_work=0.01, stumbling=0.1) != plans(7, 4, mean_work=0.01, stumbling=0.1)
