"""The last reply of each verb of a queue to each caller: stored, so that a repeated call has no second effect."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgpack

from fifoq.errors import OutcomeUnknown
from fifoq.queue import Call, Conflict, Full, PutReply, Receipt
from fifoq.record import Claimed, JobSpec, Lease, State, fast_constructor
from fifoq_sqlite.session import LastReply, ReplyKey, Session

A = TypeVar("A")
R = TypeVar("R")

_last_reply = fast_constructor(LastReply)


def once(
    queue: str, verb: str, call: Call, apply: Callable[[Session, str, Call, A], R], argument: A, session: Session
) -> R:
    """Apply a new call to `argument`, or return the reply of a repeated call. Raises OutcomeUnknown if overtaken."""
    replies = session.replies
    caller, number = call
    key = (queue, verb, caller)
    if key not in replies.known:
        replies.add(key, _read(session, key))
    last = replies.known[key]
    if last and number <= last.number:
        if number == last.number:
            return last.reply
        raise OutcomeUnknown(
            f"Call {number} of {verb} on queue {queue!r} was overtaken by this caller's call {last.number}: "
            "it may have taken effect."
        )
    reply = apply(session, queue, call, argument)
    replies.known[key] = replies.new[key] = _last_reply((number, reply))
    return reply


def save(session: Session) -> None:
    """Store the new replies, except those of puts of unindexed jobs: the rows of such jobs hold them."""
    for (queue, verb, caller), one in session.replies.new.items():
        state = session.queue_state(queue)
        if state is not None and not state.unindexed:
            body = encode(verb, one.reply)
            session.run("replies_write", (state.id, verb, caller, one.number, session.tick(state), body))


def _read(session: Session, key: ReplyKey) -> LastReply | None:
    queue, verb, caller = key
    state = session.queue_state(queue)
    if state is None:
        return None
    puts = [(id, one) for id, one in state.unindexed.items() if one.caller == caller and verb == "put"]
    if puts:
        number = puts[-1][1].number
        return LastReply(number, tuple((Receipt(id, True),) for id, one in puts if one.number == number))
    row = session.run("replies_read", (state.id, caller, verb)).fetchone()
    return LastReply(row[0], decode(verb, row[1])) if row else None


# ---- the stored form ----


def encode(verb: str, reply: Any) -> bytes:
    """Encode a reply: tuples without their names, a state as its text, the kind of a put's reply as a number."""
    return cast("bytes", msgpack.packb(_TO_PLAIN[verb](reply)))  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]


def decode(verb: str, body: bytes) -> Any:
    return _FROM_PLAIN[verb](msgpack.unpackb(body))


def _plain_put(reply: tuple[PutReply, ...]) -> Any:
    return [(0 if isinstance(one, Full) else 1 if isinstance(one, Conflict) else 2, one) for one in reply]


def _put_from_plain(plain: Any) -> tuple[PutReply, ...]:
    return tuple(_put_reply(kind, one) for kind, one in plain)


def _put_reply(kind: int, one: Any) -> PutReply:
    if kind == 0:
        return Full(*one)
    if kind == 1:
        return Conflict(*one)
    return tuple(Receipt(*receipt) for receipt in one)


def _claim_from_plain(plain: Any) -> Claimed:
    leases, next_timer = plain
    return Claimed(tuple(Lease(JobSpec(*spec), *rest) for spec, *rest in leases), next_timer)


def _settle_from_plain(plain: Any) -> tuple[State | None, ...]:
    return tuple(state and State(state) for state in plain)


_TO_PLAIN: dict[str, Callable[[Any], Any]] = {
    "put": _plain_put,
    "claim": lambda reply: (reply.leases, reply.next_timer),
    "settle": lambda reply: [state and state.value for state in reply],
}
_FROM_PLAIN: dict[str, Callable[[Any], Any]] = {
    "put": _put_from_plain,
    "claim": _claim_from_plain,
    "settle": _settle_from_plain,
}
