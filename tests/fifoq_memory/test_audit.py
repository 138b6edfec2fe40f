"""The audit finds each structure that was tampered with, and nothing in one that was not."""

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


def ready(book: QueueState, id: str) -> None:
    book.tasks["task"].ready.members.pop(book.jobs[id].score)


def value(book: QueueState, name: str) -> ValueGate:
    return book.tasks["task"].values[name]


def swap(book: QueueState) -> None:
    """The line of k is first, third, second when read from its head, as it was from its end."""
    first, second, third = (book.jobs[id] for id in ("first", "second", "third"))
    first.behind, third.behind, second.behind = third, second, None


def relink(book: QueueState) -> None:
    book.jobs["third"].ahead = book.jobs["first"]


def disorder(book: QueueState) -> None:
    book.tasks["task"].ready.run.reverse()


def lose_place(book: QueueState) -> None:
    ready = book.tasks["task"].ready
    ready.run.remove(book.jobs["unkeyed"].score)


def double_number(book: QueueState) -> None:
    book.register.pages[0][book.jobs["unkeyed"].entry] = book.jobs["running"]


def forget_line(book: QueueState) -> None:
    del book.lines["k"]


def empty_line(book: QueueState) -> None:
    book.lines["nobody"] = Line("nobody")


def stray_gate(book: QueueState) -> None:
    book.tasks["task"].values["nobody"] = ValueGate(book.tasks["task"], "nobody")


def late_slip(book: QueueState) -> None:
    timers = book.timers
    timers.run = deque((at + 1, entry) for at, entry in timers.run)
    timers.rest[:] = [(at + 1, entry) for at, entry in timers.rest]


def mark(book: QueueState) -> None:
    book.lines["halted"].blocked_since = None


CORRUPTIONS: dict[str, Callable[[QueueState], object]] = {
    "a job under another id": lambda book: book.jobs.update(other=book.jobs.pop("unkeyed")),
    "a token without a lease": lambda book: setattr(book.jobs["unkeyed"], "token", "x"),
    "a lease without a token": lambda book: setattr(book.jobs["running"], "token", None),
    "a waiting job without a seq": lambda book: setattr(book.jobs["second"], "score", 0),
    "a scheduled job with a seq": lambda book: setattr(book.jobs["scheduled"], "score", 1),
    "an unkeyed job that halts": lambda book: setattr(book.jobs["ended"], "halted", True),
    "an end of one that waits": lambda book: setattr(book.jobs["unkeyed"], "finished_at", 1),
    "a number of nobody": lambda book: book.register.add(book.number + 1, book.jobs["unkeyed"]),
    "a job without its number": lambda book: book.register.remove(book.jobs["unkeyed"].entry),
    "a late job without its seq": lambda book: book.register.remove(book.jobs["late"].seq or 0),
    "a number of two": double_number,
    "a number given out twice": lambda book: setattr(book, "number", 3),
    "an oldest one that was passed": lambda book: setattr(book.oldest, "passed", book.number),
    "a return that is in no heap": lambda book: book.oldest.seqs.add(1),
    "a count of scheduled jobs": lambda book: setattr(book, "scheduled", 5),
    "a count of ended jobs": lambda book: book.ended.update({State.FAILED: 0}),
    "a slot of the queue": lambda book: setattr(book.gate, "running", 0),
    "conservation": lambda book: setattr(book, "accepted", book.accepted + 1),
    "a unique text that is lost": lambda book: book.uniques.clear(),
    "a unique text of nobody": lambda book: book.uniques.update(other=book.jobs["unkeyed"]),
    "a timer that is lost": lambda book: book.timers.clear(book.jobs["running"].entry),
    "a timer at another time": lambda book: book.timers.set(book.jobs["scheduled"].entry, 1),
    "a timer without a slip": lambda book: book.timers.run.clear(),
    "a timer without a slip in the heap": lambda book: book.timers.rest.clear(),
    "a slip that is too late": late_slip,
    "slips out of order": lambda book: book.timers.run.reverse(),
    "slips out of order in the heap": lambda book: book.timers.rest.reverse(),
    "a purge that is lost": lambda book: book.purges.clear(book.jobs["ended"].entry),
    "a purge of one that waits": lambda book: book.purges.set(book.jobs["unkeyed"].entry, 1),
    "a line that is lost": forget_line,
    "a line of nobody": empty_line,
    "a line out of order": swap,
    "a line out of order from its end": relink,
    "a line that forgot its last": lambda book: setattr(book.lines["k"], "tail", book.jobs["first"]),
    "a blocked key that is lost": lambda book: book.blocked.chunks.clear(),
    "a blocked key that is not": lambda book: book.blocked.add((1, "k")),
    "a line that forgot it is blocked": mark,
    "a task's count of live jobs": lambda book: setattr(book.tasks["task"], "live", 0),
    "a slot of a task": lambda book: setattr(book.tasks["task"], "running", 0),
    "a task without its gate": lambda book: book.tasks.clear(),
    "an offered job in no ready set": lambda book: ready(book, "unkeyed"),
    "a head in no ready set": lambda book: ready(book, "first"),
    "one behind its head in a ready set": lambda book: book.tasks["task"].ready.add(
        book.jobs["second"].score, book.jobs["second"]
    ),
    "one behind a halted head in a ready set": lambda book: book.tasks["task"].ready.add(
        book.jobs["behind"].score, book.jobs["behind"]
    ),
    "a ready set out of order": disorder,
    "a ready job without a place": lose_place,
    "a slot of a value": lambda book: setattr(value(book, "v"), "running", 0),
    "a value's gate that is lost": lambda book: book.tasks["task"].values.pop("v"),
    "a value's gate of nobody": stray_gate,
    "a full gate that is shown": lambda book: setattr(value(book, "v"), "shown", book.jobs["shut"].score),
    "an open gate that is not shown": lambda book: setattr(value(book, "w"), "shown", None),
    "an offered job in no ready set of its value": lambda book: value(book, "v").ready.members.clear(),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_audit_finds(full: Driver, book: QueueState, corruption: str) -> None:
    CORRUPTIONS[corruption](book)
    differences = full.audit().differences
    assert differences
    assert all(one.endswith(".") and "\n" not in one for one in differences)


def test_the_audit_counts_the_records_it_read(full: Driver, book: QueueState) -> None:
    assert full.audit().jobs == len(book.jobs)
