"""The verdict sees each fault that a performance may have: every check is shown to fail."""

from collections.abc import Callable

import pytest

from fifoq.cli.demo.games import Plan, plans
from fifoq.cli.demo.log import Entry
from fifoq.cli.demo.performance import Facts, Performance
from fifoq.cli.demo.verdict import claims, tally

Log = list[Entry]


def perfect_log(plan: Plan, started: float) -> Log:
    log = list[Entry]()
    for turn, move in zip(plan.turns, plan.party.moves, strict=True):
        for attempt in (1, 2) if turn.stumbles else (1,):
            failed = turn.stumbles and attempt == 1
            log.append(Entry(turn.ply, attempt, started, started + turn.work, None if failed else move.board))
            started += turn.work
    return log


def performance(spoil: Callable[[Log], object] = lambda log: None, *, one_at_a_time: bool = False) -> Performance:
    planned = plans(6, seed=7, mean_work=0.01, stumbling=0.05)
    started, logs = 0.0, dict[str, Log]()
    for plan in planned:
        log = logs[plan.party.name] = perfect_log(plan, started)
        started = log[-1].ended if one_at_a_time else 0.0
    spoil(logs["game-003"])
    facts = {name: Facts(last_board(log), tuple(log)) for name, log in logs.items()}
    return Performance(planned, facts, 0)


def last_board(log: Log) -> str:
    return next(entry.board for entry in reversed(log) if entry.board is not None)


def failing(played: Performance) -> set[str]:
    return {claim.text for claim in claims(tally(played)) if not claim.holds}


def test_a_perfect_performance_bears_out_every_claim() -> None:
    seen = tally(performance())
    assert all(claim.holds for claim in claims(seen))
    assert len(claims(seen)) == 6
    assert (seen.games, seen.moves, seen.lost, seen.repeated, seen.overlapping) == (6, 519, 0, 0, 0)
    assert seen.most_at_once == 6
    assert seen.stumbling > 5
    assert seen.speed_up > 3


def lose_the_last(log: Log) -> None:
    log.pop()


def repeat_one(log: Log) -> None:
    log.append(log[-1]._replace(started=log[-1].ended, ended=log[-1].ended + 1))


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
        (swap_two, "each game was played in order"),
        (overlap_two, "one move of a game at a time"),
        (spoil_a_board, "every board is right, on the way too"),
        (give_up_after_a_failure, "a failed move was retried at its place"),
    ],
)
def test_a_planted_fault_breaks_its_claim(spoil: Callable[[Log], object], claim: str) -> None:
    assert claim in failing(performance(spoil))


def test_games_one_after_another_are_not_called_parallel() -> None:
    assert failing(performance(one_at_a_time=True)) == {"games were played side by side"}


def test_an_attempt_inside_a_long_one_is_an_overlap_wherever_it_stands() -> None:
    def stretch_the_first(log: Log) -> None:
        log[0] = log[0]._replace(ended=log[10].started)

    assert tally(performance(stretch_the_first)).overlapping >= 9


def test_nothing_played_proves_nothing() -> None:
    sent = performance()
    unplayed = Performance(sent.plans, {name: Facts("", ()) for name in sent.facts}, 0)
    for nothing in (unplayed, Performance([], {}, 0)):
        assert not any(claim.holds for claim in claims(tally(nothing)))


def test_one_game_alone_claims_nothing_of_others() -> None:
    played = performance()
    alone = Performance(played.plans[:1], {"game-001": played.facts["game-001"]}, 0)
    claimed = claims(tally(alone))
    assert "games were played side by side" not in {claim.text for claim in claimed}
    assert all(claim.holds for claim in claimed)


def test_the_same_seed_plans_the_same_performance() -> None:
    assert plans(7, 3, mean_work=0.01, stumbling=0.1) == plans(7, 3, mean_work=0.01, stumbling=0.1)
    assert plans(7, 3, mean_work=0.01, stumbling=0.1) != plans(7, 4, mean_work=0.01, stumbling=0.1)
