"""Extend and settle: leases held and ended."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from fifoq.queue import Call
from fifoq.record import Cancel, Extension, Fail, Hold, Outcome, Release, Retry, Settlement, State, Succeed
from fifoq_sqlite.damage import is_number, is_score, is_text, is_text_or_nothing
from fifoq_sqlite.queue_state import QueueState
from fifoq_sqlite.session import Session
from fifoq_sqlite.transitions import End, JobRef, Transitions, indexed, mend_all


class HeldLease(NamedTuple):
    """A lease that is held, with its job."""

    ref: JobRef
    cancel_requested: int
    reason: str | None
    score: int


def extend(session: Session, state: QueueState, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
    now = session.tick(state)
    held = _held(session, state, extensions)
    ends = {held[index].ref.job: now + one.lease for index, one in enumerate(extensions) if index in held}
    if ends:
        state.add_timer(min(ends.values()))
        session.change("jobs_extend", (json.dumps(list(ends.items())),))
    notes = [
        (one.progress, held[index].ref.job)
        for index, one in enumerate(extensions)
        if one.progress is not None and index in held
    ]
    if notes:
        session.change_many("jobs_progress", notes)
    return tuple(_hold(held.get(index)) for index in range(len(extensions)))


def settle(session: Session, name: str, _: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
    """End leases, in order. A second settlement of a lease in one call is refused: the lease has ended."""
    state = indexed(session, name)
    if state is None:
        return (None,) * len(settlements)
    held = _held(session, state, settlements)
    transitions = Transitions(session, state, session.tick(state))
    states: list[State | None] = []
    ended: set[int] = set()
    for index, settlement in enumerate(settlements):
        one = held.get(index)
        if one is None or one.ref.job in ended:
            states.append(None)
            continue
        ended.add(one.ref.job)
        states.append(_apply(session, transitions, one, settlement.outcome))
    transitions.write()
    return tuple(states)


def _held(
    session: Session, state: QueueState, wanted: Sequence[Extension] | Sequence[Settlement]
) -> dict[int, HeldLease]:
    """Return the leases that the tokens in `wanted` hold, by their index there."""
    pairs = json.dumps([(one.id, one.token) for one in wanted])
    by_id = state.by_id
    while True:
        rows = session.rows("jobs_by_token", (state.id, pairs))
        wrong = [row[1] for row in rows if not _is_usable(state, row)]
        if not wrong:
            break
        mend_all(session, state, wrong)
    return {
        index: HeldLease(JobRef(job, id, by_id[gate], key, value, retain), *rest)
        for index, job, id, gate, key, value, retain, *rest in rows
    }


def _is_usable(state: QueueState, row: tuple[Any, ...]) -> bool:
    """Whether the columns of a row of `jobs_by_token` are of their types."""
    _, _, id, gate, key, value, retain, _, reason, score = row
    return (
        is_text(id)
        and gate in state.by_id
        and all(map(is_text_or_nothing, (key, value, reason)))
        and is_number(retain)
        and is_score(score)
    )


def _hold(held: HeldLease | None) -> Hold:
    if held is None:
        return Hold.LOST
    return Hold.CANCEL if held.cancel_requested else Hold.HELD


def _apply(session: Session, transitions: Transitions, held: HeldLease, outcome: Outcome) -> State:
    """End one lease; return the new state of its job."""
    ref = held.ref
    match outcome:
        case Succeed(result, retain):
            end = End(State.SUCCEEDED, retain, result=result)
        case Fail(error, halt, retain):
            if halt and ref.key is not None:
                transitions.halt(ref, error, retain)
                return State.FAILED
            end = End(State.FAILED, retain, error=error)
        case Cancel(reason, retain):
            end = End(State.CANCELLED, retain, reason=held.reason if held.cancel_requested else reason)
        case Retry(after, error, retain):
            if not held.cancel_requested:
                transitions.put_back(ref, held.score, after, error)
                return State.WAITING
            end = End(State.CANCELLED, retain, error=error, reason=held.reason)
        case Release(after, retain):
            if not held.cancel_requested:
                transitions.put_back(ref, held.score, after, refund=True)
                return State.WAITING
            session.change("jobs_adjust_counts", (1, 0, ref.job))
            end = End(State.CANCELLED, retain, reason=held.reason)
    transitions.end(ref, State.RUNNING, end)
    return end.state
