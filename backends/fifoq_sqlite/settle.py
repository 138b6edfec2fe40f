"""How a lease is held and how it ends: extend and settle."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from fifoq.queue import Call
from fifoq.record import Cancel, Extension, Fail, Hold, Outcome, Release, Retry, Settlement, State, Succeed
from fifoq_sqlite.queue_state import QueueState
from fifoq_sqlite.session import Session
from fifoq_sqlite.transitions import End, Moves, Place, indexed


class Held(NamedTuple):
    """A job whose lease is held."""

    place: Place
    cancel_requested: int
    reason: str | None
    ranked: int
    """Its score."""


def extend(session: Session, state: QueueState, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
    now = session.tick(state)
    held = _held(session, state, extensions)
    ends = {held[index].place.job: now + one.lease for index, one in enumerate(extensions) if index in held}
    if ends:
        state.wake_by(min(ends.values()))
        session.change("jobs_extend", (json.dumps(list(ends.items())),))
    notes = [
        (one.progress, held[index].place.job)
        for index, one in enumerate(extensions)
        if one.progress is not None and index in held
    ]
    if notes:
        session.change_many("jobs_progress", notes)
    return tuple(_hold(held.get(index)) for index in range(len(extensions)))


def settle(session: Session, name: str, _: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
    """End leases, in order. A second settlement of a lease in one call finds it ended."""
    state = indexed(session, name)
    if state is None:
        return (None,) * len(settlements)
    held = _held(session, state, settlements)
    moves = Moves(session, state, session.tick(state))
    states: list[State | None] = []
    ended: set[int] = set()
    for index, settlement in enumerate(settlements):
        one = held.get(index)
        if one is None or one.place.job in ended:
            states.append(None)
            continue
        ended.add(one.place.job)
        states.append(_apply(session, moves, one, settlement.outcome))
    moves.write()
    return tuple(states)


def _held(session: Session, state: QueueState, wanted: Sequence[Extension] | Sequence[Settlement]) -> dict[int, Held]:
    """The jobs whose tokens were given, by place in `wanted`."""
    pairs = json.dumps([(one.id, one.token) for one in wanted])
    by_id = state.by_id
    return {
        index: Held(Place(job, id, by_id[gate], key, value, retain), *rest)
        for index, job, id, gate, key, value, retain, *rest in session.run("jobs_held", (state.id, pairs)).fetchall()
    }


def _hold(held: Held | None) -> Hold:
    if held is None:
        return Hold.LOST
    return Hold.CANCEL if held.cancel_requested else Hold.HELD


def _apply(session: Session, moves: Moves, held: Held, outcome: Outcome) -> State:
    """End one lease; return the job's state then."""
    place = held.place
    match outcome:
        case Succeed(result, retain):
            end = End(State.SUCCEEDED, retain, result=result)
        case Fail(error, halt, retain):
            if halt and place.key is not None:
                moves.halt(place, error, retain)
                return State.FAILED
            end = End(State.FAILED, retain, error=error)
        case Cancel(reason, retain):
            end = End(State.CANCELLED, retain, reason=held.reason if held.cancel_requested else reason)
        case Retry(after, error, retain):
            if not held.cancel_requested:
                moves.back(place, held.ranked, after, error)
                return State.WAITING
            end = End(State.CANCELLED, retain, error=error, reason=held.reason)
        case Release(after, retain):
            if not held.cancel_requested:
                moves.back(place, held.ranked, after, refund=True)
                return State.WAITING
            session.change("jobs_count", (1, 0, place.job))
            end = End(State.CANCELLED, retain, reason=held.reason)
    moves.end(place, State.RUNNING, end)
    return end.state
