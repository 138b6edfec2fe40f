"""What callers were last told: each one's last call of each verb on a queue, and the reply."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import msgpack

from fifoq.errors import OutcomeUnknown
from fifoq.lease import Claimed, Lease
from fifoq.queue import Call, Conflict, Full, PutReply, Receipt
from fifoq.quick import quick
from fifoq.record import JobSpec
from fifoq.state import State
from fifoq_sqlite.session import Session

A = TypeVar("A")
R = TypeVar("R")
_MOST = 1_000
"""So many callers are remembered in memory; beyond, they are read again."""


class Remembered(NamedTuple):
    """A caller's last call of one verb."""

    number: int
    reply: Any


_remembered = quick(Remembered)

Who = tuple[str, str, str]
"""Queue, verb and caller."""


class Replies:
    """The last replies, as one connection knows them."""

    def __init__(self) -> None:
        self._known: dict[Who, Remembered | None] = {}
        """As stored; None: there is none."""
        self._new: dict[Who, Remembered] = {}
        """Of the open transaction."""
        self._generation = -1

    def once(
        self, session: Session, queue: str, verb: str, call: Call, apply: Callable[[Session, str, Call, A], R], what: A
    ) -> R:
        """Apply a call, which asks for `what`, or repeat its reply, or refuse it as overtaken."""
        caller, number = call
        who = (queue, verb, caller)
        last = self._last(session, who)
        if last and number < last.number:
            raise OutcomeUnknown(
                f"Call {number} of {verb} on queue {queue!r} was overtaken by this caller's call {last.number}: "
                "it may have taken effect."
            )
        if last and number == last.number:
            return last.reply
        reply = apply(session, queue, call, what)
        self._new[who] = _remembered((number, reply))
        return reply

    def save(self, session: Session) -> None:
        """Write the new ones, but of jobs put alone: as long as they are not filed, they tell of their put."""
        for (queue, verb, caller), one in self._new.items():
            book = session.book(queue)
            if book is not None and not book.unfiled:
                body = encode(verb, one.reply)
                session.run("replies_write", (book.id, verb, caller, one.number, session.tick(book), body))

    def committed(self) -> None:
        """The transaction is over."""
        self._known |= self._new
        self._new.clear()
        if len(self._known) > _MOST:
            self._known.clear()

    def rolled_back(self) -> None:
        self._new.clear()

    def _last(self, session: Session, who: Who) -> Remembered | None:
        if who in self._new:
            return self._new[who]
        if self._generation != session.generation:
            self._known.clear()
            self._generation = session.generation
        if who not in self._known:
            self._known[who] = self._read(session, who)
        return self._known[who]

    def _read(self, session: Session, who: Who) -> Remembered | None:
        queue, verb, caller = who
        book = session.book(queue)
        if book is None:
            return None
        puts = [(id, one) for id, one in book.unfiled.items() if one.caller == caller and verb == "put"]
        if puts:
            number = puts[-1][1].number
            return Remembered(number, tuple((Receipt(id, True),) for id, one in puts if one.number == number))
        row = session.run("replies_read", (book.id, caller, verb)).fetchone()
        return Remembered(row[0], decode(verb, row[1])) if row else None


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
    "claim": tuple,
    "settle": lambda reply: [state and state.value for state in reply],
}
_REBUILT: dict[str, Callable[[Any], Any]] = {
    "put": _rebuilt_put,
    "claim": _rebuilt_claim,
    "settle": _rebuilt_settle,
}
