"""The audit finds each structure that is corrupted, and no difference in a sound one."""

from collections import deque
from collections.abc import Callable

import pytest

from fifoq.limits import Limit, Rate
from fifoq.record import State
from fifoq.testing import Driver, ManualClock, spec
from fifoq_memory.jobs import Line, ValueGate
from fifoq_memory.queue_state import QueueState

HOUR = 3_600_000_000


@pytest.fixture
def full(driver: Driver, clock: ManualClock) -> Driver:
    """A queue with something in each of its structures."""
    driver.declare("task", limit=[Limit(5), Limit(1, by="tenant")], rate=Rate(1_000, burst=100), capacity=1_000)
    driver.put(spec(id="running"), spec("halted", id="halts"), spec(id="valued", value="v"))
    driver.fail(next(lease for lease in driver.leases(3) if lease.spec.id == "halts"), halt=True)
    driver.put(spec("halted", id="behind"), spec(id="unkeyed"), spec(id="unkeyed2"), spec(id="shut", value="v"))
    driver.put(spec("k", id="first"), spec("k", id="second"), spec("k", id="third"), spec(id="open", value="w"))
    driver.put(spec(id="scheduled", delay=10, unique="text"), spec("later", id="later", delay=10, in_line=True))
    driver.put(spec(id="expiring", expires=60), spec(id="ended", retain=HOUR), spec(id="late", delay=1))
    driver.cancel("ended")
    driver.pause(key="paused")
    driver.stats()
    clock.advance(1)
    driver.claim(0)
    assert driver.audit().differences == ()
    return driver


def ready(state: QueueState, id: str) -> None:
    state.tasks["task"].ready.members.pop(state.jobs[id].score)


def value(state: QueueState, name: str) -> ValueGate:
    return state.tasks["task"].values[name]


def swap(state: QueueState) -> None:
    """The line of k is first, third, second when read from its head, as it was from its end."""
    first, second, third = (state.jobs[id] for id in ("first", "second", "third"))
    first.behind, third.behind, second.behind = third, second, None


def relink(state: QueueState) -> None:
    state.jobs["third"].ahead = state.jobs["first"]


def disorder(state: QueueState) -> None:
    state.tasks["task"].ready.run.reverse()


def lose_score(state: QueueState) -> None:
    ready = state.tasks["task"].ready
    ready.run.remove(state.jobs["unkeyed"].score)


def double_number(state: QueueState) -> None:
    state.numbers.pages[0][state.jobs["unkeyed"].entry] = state.jobs["running"]


def forget_line(state: QueueState) -> None:
    del state.lines["k"]


def empty_line(state: QueueState) -> None:
    state.lines["empty"] = Line("empty")


def stray_gate(state: QueueState) -> None:
    state.tasks["task"].values["stray"] = ValueGate(state.tasks["task"], "stray")


def late_mark(state: QueueState) -> None:
    timers = state.timers
    timers.run = deque((at + 1, entry) for at, entry in timers.run)
    timers.rest[:] = [(at + 1, entry) for at, entry in timers.rest]


def unmark_blocked(state: QueueState) -> None:
    state.lines["halted"].blocked_since = None


CORRUPTIONS: dict[str, Callable[[QueueState], object]] = {
    "a job under another id": lambda state: state.jobs.update(other=state.jobs.pop("unkeyed")),
    "a token without a lease": lambda state: setattr(state.jobs["unkeyed"], "token", "x"),
    "a lease without a token": lambda state: setattr(state.jobs["running"], "token", None),
    "a waiting job without a seq": lambda state: setattr(state.jobs["second"], "score", 0),
    "a scheduled job with a seq": lambda state: setattr(state.jobs["scheduled"], "score", 1),
    "an unkeyed job that halts": lambda state: setattr(state.jobs["ended"], "halted", True),
    "an end of a job that waits": lambda state: setattr(state.jobs["unkeyed"], "finished_at", 1),
    "a number of no job": lambda state: state.numbers.add(state.number + 1, state.jobs["unkeyed"]),
    "a job without its number": lambda state: state.numbers.remove(state.jobs["unkeyed"].entry),
    "a late job without its seq": lambda state: state.numbers.remove(state.jobs["late"].seq or 0),
    "a number of two jobs": double_number,
    "a number given out twice": lambda state: setattr(state, "number", 3),
    "an oldest job that was passed": lambda state: setattr(state.oldest, "passed", state.number),
    "a return that is in no heap": lambda state: state.oldest.seqs.add(1),
    "a count of scheduled jobs": lambda state: setattr(state, "scheduled", 5),
    "a count of ended jobs": lambda state: state.ended.update({State.FAILED: 0}),
    "a slot of the queue": lambda state: setattr(state.gate, "running", 0),
    "conservation": lambda state: setattr(state, "accepted", state.accepted + 1),
    "a unique text that is lost": lambda state: state.uniques.clear(),
    "a unique text of no job": lambda state: state.uniques.update(other=state.jobs["unkeyed"]),
    "a timer that is lost": lambda state: state.timers.clear(state.jobs["running"].entry),
    "a timer at another time": lambda state: state.timers.set(state.jobs["scheduled"].entry, 1),
    "a timer without a mark": lambda state: state.timers.run.clear(),
    "a timer without a mark in the heap": lambda state: state.timers.rest.clear(),
    "a mark that is too late": late_mark,
    "marks out of order": lambda state: state.timers.run.reverse(),
    "marks out of order in the heap": lambda state: state.timers.rest.reverse(),
    "a purge that is lost": lambda state: state.purges.clear(state.jobs["ended"].entry),
    "a purge of a job that waits": lambda state: state.purges.set(state.jobs["unkeyed"].entry, 1),
    "a line that is lost": forget_line,
    "a line without jobs": empty_line,
    "a line out of order": swap,
    "a line out of order from its end": relink,
    "a line with a wrong tail": lambda state: setattr(state.lines["k"], "tail", state.jobs["first"]),
    "a blocked key that is lost": lambda state: state.blocked.chunks.clear(),
    "a blocked key that is not": lambda state: state.blocked.add((1, "k")),
    "a line without the time since which it is blocked": unmark_blocked,
    "a task's count of live jobs": lambda state: setattr(state.tasks["task"], "live", 0),
    "a slot of a task": lambda state: setattr(state.tasks["task"], "running", 0),
    "a task without its gate": lambda state: state.tasks.clear(),
    "an offered job in no ready set": lambda state: ready(state, "unkeyed"),
    "a head in no ready set": lambda state: ready(state, "first"),
    "a job behind its head in a ready set": lambda state: state.tasks["task"].ready.add(
        state.jobs["second"].score, state.jobs["second"]
    ),
    "a job behind a halted head in a ready set": lambda state: state.tasks["task"].ready.add(
        state.jobs["behind"].score, state.jobs["behind"]
    ),
    "a ready set out of order": disorder,
    "a ready job without its score": lose_score,
    "a slot of a value": lambda state: setattr(value(state, "v"), "running", 0),
    "a value's gate that is lost": lambda state: state.tasks["task"].values.pop("v"),
    "a value's gate without jobs": stray_gate,
    "a full gate that is shown": lambda state: setattr(value(state, "v"), "shown", state.jobs["shut"].score),
    "an open gate that is not shown": lambda state: setattr(value(state, "w"), "shown", None),
    "an offered job in no ready set of its value": lambda state: value(state, "v").ready.members.clear(),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_audit_finds(full: Driver, state: QueueState, corruption: str) -> None:
    CORRUPTIONS[corruption](state)
    differences = full.audit().differences
    assert differences
    assert all(one.endswith(".") and "\n" not in one for one in differences)


def test_the_audit_counts_the_records_it_read(full: Driver, state: QueueState) -> None:
    assert full.audit().jobs == len(state.jobs)
