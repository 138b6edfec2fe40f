"""
A backend and the model, with the same calls to both: every reply of the one must be the other's.

Two backends on one store take turns: a reply that depends on state kept in one of them, not in the store, differs.
"""

import asyncio
import itertools
from collections.abc import Collection, Coroutine
from typing import Any, NamedTuple, cast

from fifoq.clock import SECOND
from fifoq.errors import OutcomeUnknown
from fifoq.limits import GateSettings
from fifoq.queue import MAX_PAGE, BlockedKeyRecord, Call, Gate, Queue, Stats
from fifoq.record import Claimed, Filter, JobSpec, Lease, Record
from fifoq.testing.clock import ManualClock
from fifoq.testing.driver import MakeBackend
from fifoq.testing.model import Model

_names = itertools.count(1)
TRACE = 80
"""How many of the last operations the report of a difference lists."""


class Sent(NamedTuple):
    """A call as it was sent, for a repeat."""

    verb: str
    call: Call
    arguments: tuple[Any, ...]
    at: int
    reply: Any


class Pair:
    """One queue, twice: in a backend's store, and in the model."""

    def __init__(self, make_backend: MakeBackend, clock: ManualClock) -> None:
        self.clock = clock
        self.ids: list[str] = []
        """Every id that was ever put."""
        self.leases: list[Lease] = []
        """Every lease that a claim ever returned, the newest last."""
        self.sent: dict[tuple[str, str], Sent] = {}
        """The last call of each verb and caller."""
        self._name = f"pair-{next(_names)}"
        self._trace: list[str] = []
        self._latest = clock.now()
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._backends = [make_backend(clock), make_backend(clock)]
        for backend in self._backends:
            self._run(backend.open())
        self.model = self._model()

    def _model(self) -> Model:
        """Return a model on the store's time: an earlier pair may have set its clock back."""
        call, probe = self.call("probe"), JobSpec("probe", "probe", b"")
        self._run(self._queue().put(call, [[probe]]))
        (record,) = self._run(self._queue().get(["probe"]))
        assert record is not None
        model = Model(self.clock, record.created_at - self.clock.now())
        model.put(call, [[probe]])
        self.ids.append("probe")
        return model

    def close(self) -> None:
        """Close the store and leave the clock at the latest time that it had."""
        self.clock.set(max(self._latest, self.clock.now()))
        for backend in self._backends:
            self._run(backend.close())
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(coroutine)

    def _queue(self) -> Queue:
        """Return the queue, on the backend whose turn it is."""
        self._backends.reverse()
        return self._backends[0].queue(self._name)

    # ---- operations ----

    def fresh_id(self) -> str:
        return f"j{next(self._numbers)}"

    def call(self, caller: str) -> Call:
        return Call(f"{caller} of {self._name}", next(self._numbers))

    def do(self, verb: str, *arguments: Any) -> Any:
        """Make one call on both sides and compare the replies."""
        self._trace.append(f"{verb}{arguments!r}")
        expected = self._expected(verb, arguments)
        got = self._got(verb, arguments)
        self._compare(verb, arguments, expected, got)
        if arguments and isinstance(arguments[0], Call) and not isinstance(got, Exception):
            call = arguments[0]
            self.sent[verb, call.caller] = Sent(verb, call, arguments[1:], self.clock.now(), got)
        if verb == "claim" and isinstance(got, Claimed):
            self.leases += got.leases
        return got

    def repeat(self, sent: Sent) -> None:
        """Send the last call of a caller once more: its reply must equal the first one."""
        self._trace.append(f"repeat {sent.verb} {sent.call}")
        getattr(self.model, sent.verb)(sent.call, *sent.arguments)
        got = self._got(sent.verb, (sent.call, *sent.arguments))
        self._same(f"a repeated {sent.verb}", sent.reply, got)

    def advance(self, seconds: float) -> None:
        self._trace.append(f"advance({seconds})")
        self.clock.advance(seconds)
        self._latest = max(self._latest, self.clock.now())

    def set_back(self, seconds: float) -> None:
        """
        Set the clock back, between two writes: whether a read counts as a use of the time is up to the store.
        """
        self._write()
        self._trace.append(f"set_back({seconds})")
        self.clock.set(self.clock.now() - round(seconds * SECOND))
        self._write()

    def _write(self) -> None:
        written = JobSpec(f"mark-{next(self._numbers)}", "probe", b"")
        self.do("put", self.call("mark"), [[written]])
        self.do("cancel", [written.id], "mark")

    def reopen(self) -> None:
        """Close one of the backends and open it again; the other keeps the store alive."""
        self._trace.append("reopen()")
        self._backends.reverse()
        self._run(self._backends[0].close())
        self._run(self._backends[0].open())

    # ---- reading ----

    def compare_all(self) -> None:
        """Compare everything that can be read."""
        audit = self._run(self._queue().audit())
        self._same("audit().differences", (), audit.differences)
        self._same("audit().jobs", len(self.model.state.jobs), audit.jobs)
        self._same("get", self.model.get(self.ids), self._run(self._queue().get(self.ids)))
        self._compare_stats(self.model.stats(), self._run(self._queue().stats()))
        self.find(Filter(), MAX_PAGE)
        self.blocked_keys(MAX_PAGE)

    def find(self, filter: Filter, limit: int) -> None:
        records: list[Record] = []
        cursor: int | None = 0
        while cursor is not None:
            page = self._run(self._queue().find(filter, cursor, limit))
            self._check(len(page.records) <= limit, f"a page of {limit} has {len(page.records)} records")
            self._check(page.cursor is None or page.cursor > cursor, "the cursor does not move on")
            records += page.records
            cursor = page.cursor
        self._same(f"find {filter}", self.model.find(filter), tuple(records))

    def blocked_keys(self, limit: int, owner: str | None = None) -> None:
        keys: list[BlockedKeyRecord] = []
        cursor: str | None = None
        for _ in range(1 + len(self.ids) + len(self.model.state.paused_keys)):
            page = self._run(self._queue().blocked_keys(cursor, limit, owner))
            self._check(len(page.keys) <= limit, f"a page of {limit} has {len(page.keys)} keys")
            keys += page.keys
            cursor = page.cursor
            if cursor is None:
                break
        expected = self.model.blocked_keys(owner)
        self._same("blocked_keys, by time", [one.since for one in expected], [one.since for one in keys])
        self._same("blocked_keys", sorted(expected, key=_by_key), sorted(keys, key=_by_key))

    # ---- comparing ----

    def _expected(self, verb: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return getattr(self.model, verb)(*arguments)
        except OutcomeUnknown as error:
            return error

    def _got(self, verb: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return self._run(getattr(self._queue(), verb)(*arguments))
        except OutcomeUnknown as error:
            return error

    def _compare(self, verb: str, arguments: tuple[Any, ...], expected: Any, got: Any) -> None:
        if isinstance(expected, Exception) or isinstance(got, Exception):
            self._same(f"the error of {verb}", type(expected), type(got))
        elif isinstance(expected, Claimed):
            self._same("claim", expected.leases, got.leases)
            self._compare_timer(expected.next_timer, got.next_timer, arguments[-1])
        else:
            self._same(verb, expected, got)

    def _compare_timer(self, earliest: int | None, got: int | None, tasks: Collection[str]) -> None:
        """Compare timers: it may lie from the first change to the first job. Too late would stall a worker."""
        if got == earliest:
            return
        latest = self.model.soonest(tasks)
        if got is None:
            self._check(latest is None, f"claim returned no timer, but a job is claimable in {latest}")
        else:
            self._check(
                earliest is not None and got >= earliest, f"claim returned {got}, the first timer is {earliest}"
            )
            self._check(latest is None or got <= latest, f"claim returned {got}, but a job is claimable in {latest}")

    def _compare_stats(self, expected: Stats, got: Stats) -> None:
        self._same("stats", expected._replace(gates=()), got._replace(gates=()))
        wanted = {gate.task for gate in expected.gates}
        gates = tuple(gate for gate in got.gates if gate.task in wanted or gate != _idle(gate.task))
        self._same("the gates", expected.gates, gates)

    def _same(self, subject: str, expected: Any, got: Any) -> None:
        if expected != got:
            self._check(
                False, f"{subject} differs\n  model:   {_show(expected, got)}\n  backend: {_show(got, expected)}"
            )

    def _check(self, true: bool, message: str) -> None:
        if not true:
            trace = "\n".join(self._trace[-TRACE:])
            raise AssertionError(f"{message}\nafter\n{trace}")


def _idle(task: str | None) -> Gate:
    """Return a gate without settings and jobs: a backend may list it or not."""
    return Gate(task, GateSettings(), overridden=False, paused=False, live=0, running=0)


def _by_key(one: BlockedKeyRecord) -> str:
    return one.key


def _show(value: Any, beside: Any) -> str:
    """Return a reply as text; of a tuple, the members that the other one lacks."""
    if type(value) is tuple and type(beside) is tuple:
        mine, other = cast("tuple[Any, ...]", value), cast("tuple[Any, ...]", beside)
        return "\n    ".join(repr(one) for one in mine if one not in other) or f"{len(mine)} of these, in another order"
    return repr(cast("object", value))
