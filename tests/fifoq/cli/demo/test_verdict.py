"""The verdict finds each fault that a run may have: every promise is shown to fail."""

from collections.abc import Callable

import pytest

from fifoq.cli.demo.boards import Attempt, GameState
from fifoq.cli.demo.client import Run
from fifoq.cli.demo.games import Plan, plans
from fifoq.cli.demo.processes import KilledWorker
from fifoq.cli.demo.verdict import NOT_AGAIN, check, summarize

Log = list[Attempt]

SERVER, KILLED, OTHER = 1, 2, 3
LONG = 2.0
"""Seconds until another worker takes over the move that a killed worker was running."""


def perfect_log(plan: Plan, started: float, worker: int = OTHER) -> Log:
    log = list[Attempt]()
    for request, move in zip(plan.requests, plan.game.moves, strict=True):
        for number in (1, 2) if request.fails_first else (1,):
            failed = request.fails_first and number == 1
            ended, outcome = started + request.work, "failed" if failed else "stored"
            log.append(Attempt(request.ply, number, worker, started, ended, outcome, None if failed else move.board))
            started = ended
    return log


def run(spoil: Callable[[Log], object] = lambda log: None, *, one_at_a_time: bool = False) -> Run:
    """Six games, played by one process that is not killed, with a fault in one of them."""
    planned = plans(6, seed=7, mean_work=0.01, failing=0.05)
    started, logs = 0.0, dict[str, Log]()
    for plan in planned:
        log = logs[plan.game.name] = perfect_log(plan, started)
        started = log[-1].ended or 0.0 if one_at_a_time else 0.0
    spoil(logs["game-003"])
    return Run(planned, states_of(logs), SERVER)


def run_with_a_kill(spoil: Callable[[Log], object] = lambda log: None, *, killed: int = 1) -> Run:
    """The same, with a worker killed in the twelfth attempt of each game: another one runs the rest, LONG later."""
    planned = plans(6, seed=7, mean_work=0.01, failing=0.0)
    # The twelfth attempts of all games begin at the same moment.
    logs = {plan.game.name: perfect_log(plan, -sum(request.work for request in plan.requests[:11])) for plan in planned}
    for name, log in logs.items():
        interrupted = log[11]._replace(worker=KILLED, ended=None, outcome=None, board=None)
        before = [attempt._replace(worker=KILLED) for attempt in log[:11]]
        after = [attempt._replace(started=attempt.started + LONG, ended=attempt.ended + LONG) for attempt in log[11:]]
        logs[name] = [*before, after[0]._replace(number=2), *after[1:], interrupted]
    spoil(logs["game-003"])
    return Run(planned, states_of(logs), SERVER, (KilledWorker(KILLED, 0.0, 0.001),)[:killed])


def states_of(logs: dict[str, Log]) -> dict[str, GameState]:
    return {name: GameState(last_board(log), tuple(log)) for name, log in logs.items()}


def last_board(log: Log) -> str:
    return next(attempt.board for attempt in reversed(log) if attempt.board is not None)


def broken(played: Run) -> set[str]:
    return {promise.text for promise in check(summarize(played)) if not promise.holds}


def test_a_perfect_run_keeps_every_promise() -> None:
    seen = summarize(run())
    assert all(promise.holds for promise in check(seen))
    assert len(check(seen)) == 7
    assert (seen.games, seen.moves, seen.lost, seen.stored_twice, seen.repeated, seen.overlapping) == (
        6,
        519,
        0,
        0,
        0,
        0,
    )
    assert seen.most_at_once == 6
    assert seen.planned_failures > 5
    assert seen.speed_up > 3


def lose_the_last(log: Log) -> None:
    log.pop()


def repeat_one(log: Log) -> None:
    log.append(log[-1]._replace(started=log[-1].ended, ended=log[-1].ended + 1))


def begin_one_again(log: Log) -> None:
    """Another worker found the move stored."""
    log.append(log[-1]._replace(started=log[-1].ended, ended=log[-1].ended + 1, outcome="stored before", board=None))


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
    retried = next(index for index, attempt in enumerate(log) if attempt.number == 2)
    log[retried] = log[retried]._replace(number=1)


@pytest.mark.parametrize(
    ("spoil", "promise"),
    [
        (lose_the_last, "no move was lost or stored twice"),
        (repeat_one, "no move was lost or stored twice"),
        (repeat_one, NOT_AGAIN),
        (begin_one_again, NOT_AGAIN),
        (never_end, "one move of a game ran at a time"),
        (swap_two, "each game was played in order"),
        (overlap_two, "one move of a game ran at a time"),
        (spoil_a_board, "the board was right after each move"),
        (give_up_after_a_failure, "failed moves were retried in place"),
    ],
)
def test_a_planted_fault_breaks_its_promise(spoil: Callable[[Log], object], promise: str) -> None:
    assert promise in broken(run(spoil))


def test_a_run_with_a_worker_killed_midway_keeps_every_promise() -> None:
    seen = summarize(run_with_a_kill())
    assert [promise for promise in check(seen) if not promise.holds] == []
    assert len(check(seen)) == 8
    assert seen.workers == 2
    assert seen.kill is not None
    assert (seen.kill.workers, seen.kill.interrupted, seen.kill.taken_over, seen.kill.repeated) == (1, 6, 6, 6)
    assert LONG - 0.1 < seen.kill.seconds < LONG + 0.1


def test_a_move_stored_and_not_settled_when_its_worker_was_killed_may_run_again() -> None:
    def find_it_stored(log: Log) -> None:
        log.append(
            log[10]._replace(worker=OTHER, number=2, started=1.0, ended=1.0, outcome="stored before", board=None)
        )

    seen = summarize(run_with_a_kill(find_it_stored))
    assert all(promise.holds for promise in check(seen))
    assert seen.kill is not None
    assert (seen.kill.interrupted, seen.kill.repeated) == (6, 7)


def never_take_over(log: Log) -> None:
    del log[11:-1]


def take_over_too_soon(log: Log) -> None:
    log[11] = log[11]._replace(started=0.0005)


def go_on_after_death(log: Log) -> None:
    log[11] = log[11]._replace(worker=KILLED)


def begin_another_again(log: Log) -> None:
    log.append(log[20]._replace(started=log[20].ended, ended=log[20].ended, outcome="stored before", board=None))


def run_one_in_the_server(log: Log) -> None:
    log[20] = log[20]._replace(worker=SERVER)


@pytest.mark.parametrize(
    ("spoil", "promise"),
    [
        (never_take_over, "others took over from a killed worker"),
        (never_take_over, "no move was lost or stored twice"),
        (take_over_too_soon, "others took over from a killed worker"),
        (take_over_too_soon, "one move of a game ran at a time"),
        (go_on_after_death, "others took over from a killed worker"),
        (begin_another_again, NOT_AGAIN),
        (never_end, "one move of a game ran at a time"),
        (run_one_in_the_server, "worker processes ran all moves"),
    ],
)
def test_a_fault_planted_beside_a_kill_breaks_its_promise(spoil: Callable[[Log], object], promise: str) -> None:
    assert promise in broken(run_with_a_kill(spoil))


def test_a_run_whose_kill_killed_no_worker_survived_no_kill() -> None:
    assert {"others took over from a killed worker", NOT_AGAIN} <= broken(run_with_a_kill(killed=0))


def test_a_kill_that_interrupted_nothing_proves_nothing() -> None:
    played = run()._replace(killed=(KilledWorker(KILLED, 0.0, 0.0),))
    assert "others took over from a killed worker" in broken(played)


def test_games_one_after_another_are_not_called_parallel() -> None:
    assert broken(run(one_at_a_time=True)) == {"games were played side by side"}


def test_an_attempt_inside_a_long_one_is_an_overlap_wherever_it_is_in_the_log() -> None:
    def stretch_the_first(log: Log) -> None:
        log[0] = log[0]._replace(ended=log[10].started)

    assert summarize(run(stretch_the_first)).overlapping >= 9


def test_a_run_without_stored_moves_proves_nothing() -> None:
    sent = run()
    unplayed = Run(sent.plans, {name: GameState("", ()) for name in sent.states}, SERVER)
    for nothing in (unplayed, unplayed._replace(killed=()), Run([], {}, SERVER)):
        assert not any(promise.holds for promise in check(summarize(nothing)))


def test_one_game_alone_promises_nothing_of_others() -> None:
    played = run()
    alone = Run(played.plans[:1], {"game-001": played.states["game-001"]}, SERVER)
    promises = check(summarize(alone))
    assert "games were played side by side" not in {promise.text for promise in promises}
    assert all(promise.holds for promise in promises)
