"""What callers were last told: each one's last call of each verb on a queue, and the reply."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgpack

from fifoq.errors import OutcomeUnknown
from fifoq.queue import Call, Conflict, Full, PutReply, Receipt
from fifoq.record import Claimed, JobSpec, Lease, State, fast_constructor
from fifoq_sqlite.session import LastReply, Session, Who

A = TypeVar("A")
R = TypeVar("R")

_remembered = fast_constructor(LastReply)


def once(
    queue: str, verb: str, call: Call, apply: Callable[[Session, str, Call, A], R], what: A, session: Session
) -> R:
    """Apply a call, which asks for `what`, or repeat its reply, or refuse it as overtaken."""
    told = session.told
    caller, number = call
    who = (queue, verb, caller)
    if who not in told.known:
        told.know(who, _read(session, who))
    last = told.known[who]
    if last and number <= last.number:
        if number == last.number:
            return last.reply
        raise OutcomeUnknown(
            f"Call {number} of {verb} on queue {queue!r} was overtaken by this caller's call {last.number}: "
            "it may have taken effect."
        )
    reply = apply(session, queue, call, what)
    told.known[who] = told.new[who] = _remembered((number, reply))
    return reply


def save(session: Session) -> None:
    """Write the new ones, but of jobs put alone: as long as they are not filed, they tell of their put."""
    for (queue, verb, caller), one in session.told.new.items():
        state = session.queue_state(queue)
        if state is not None and not state.unindexed:
            body = encode(verb, one.reply)
            session.run("replies_write", (state.id, verb, caller, one.number, session.tick(state), body))


def _read(session: Session, who: Who) -> LastReply | None:
    queue, verb, caller = who
    state = session.queue_state(queue)
    if state is None:
        return None
    puts = [(id, one) for id, one in state.unindexed.items() if one.caller == caller and verb == "put"]
    if puts:
        number = puts[-1][1].number
        return LastReply(number, tuple((Receipt(id, True),) for id, one in puts if one.number == number))
    row = session.run("replies_read", (state.id, caller, verb)).fetchone()
    return LastReply(row[0], decode(verb, row[1])) if row else None


def encode(verb: str, reply: Any) -> bytes:
    """The stored form of a reply: plain tuples, an enum as its place."""
    return cast("bytes", msgpack.packb(_PLAIN[verb](reply)))  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]


def decode(verb: str, body: bytes) -> Any:
    return _REBUILT[verb](msgpack.unpackb(body))


def _plain_put(reply: tuple[PutReply, ...]) -> Any:
    return [(0 if isinstance(one, Full) else 1 if isinstance(one, Conflict) else 2, one) for one in reply]


def _rebuilt_put(plain: Any) -> tuple[PutReply, ...]:
    return tuple(_put_reply(kind, one) for kind, one in plain)


def _put_reply(kind: int, one: Any) -> PutReply:
    if kind == 0:
        return Full(*one)
    if kind == 1:
        return Conflict(*one)
    return tuple(Receipt(*receipt) for receipt in one)


def _rebuilt_claim(plain: Any) -> Claimed:
    leases, next_timer = plain
    return Claimed(tuple(Lease(JobSpec(*spec), *rest) for spec, *rest in leases), next_timer)


def _rebuilt_settle(plain: Any) -> tuple[State | None, ...]:
    return tuple(state and State(state) for state in plain)


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "put": _plain_put,
    "claim": lambda reply: (reply.leases, reply.next_timer),
    "settle": lambda reply: [state and state.value for state in reply],
}
_REBUILT: dict[str, Callable[[Any], Any]] = {
    "put": _rebuilt_put,
    "claim": _rebuilt_claim,
    "settle": _rebuilt_settle,
}
