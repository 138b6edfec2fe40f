"""
Random operations on a pair. Their arguments are drawn from few keys, tasks, values and times, so that most operations
meet jobs of earlier ones, and some are refused.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol, TypeVar

from fifoq.clock import SECOND
from fifoq.limits import GateSettings
from fifoq.queue import Call, Declare, Override, Pause, Resume, Setting
from fifoq.record import Cancel, Extension, Fail, Filter, JobSpec, Outcome, Release, Retry, Settlement, State, Succeed
from fifoq.testing.pair import Pair

T = TypeVar("T")

TASKS = ("t1", "t2", "t3")
KEYS = ("a", "b", "c", "d")
CALLERS = ("caller-1", "caller-2")
SECONDS = (1, 2, 5)
TIMES = (0,) * 6 + (SECOND // 2, SECOND, 3 * SECOND)
RETAIN = (0, 2 * SECOND, 20 * SECOND)


class Draw(Protocol):
    """The source of arguments: a seeded generator, or Hypothesis, which shrinks them."""

    def one(self, options: Sequence[T]) -> T:
        """Return one of the options, which begin with the simplest."""
        ...


class RandomDraw:
    """Draws from a seeded generator: fast."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def one(self, options: Sequence[T]) -> T:
        return self._random.choice(options)


def some(draw: Draw, options: Sequence[T], most: int = 3) -> list[T]:
    """Return up to `most` of the options, repeats allowed."""
    return [draw.one(options) for _ in range(draw.one(range(1, most + 1)))] if options else []


# ---- put ----


def put(draw: Draw, pair: Pair) -> None:
    batches = [[_spec(draw, pair) for _ in range(draw.one((1, 2, 3, 5)))] for _ in range(draw.one((1, 1, 2)))]
    pair.do("put", pair.call(draw.one(CALLERS)), batches)
    pair.ids += [spec.id for batch in batches for spec in batch if spec.id not in pair.ids]


def _spec(draw: Draw, pair: Pair) -> JobSpec:
    return JobSpec(
        id=pair.fresh_id() if draw.one(range(8)) else draw.one(pair.ids),
        task=draw.one(TASKS),
        payload=draw.one((b"",) * 7 + (b"x",)),
        key=draw.one((None, None, "a", "a", "b", "b", *KEYS)),
        value=draw.one((None, "x", "y")),
        priority=draw.one((0, 0, 0, 9, -9, 1)),
        delay=draw.one(TIMES),
        in_line=draw.one((False, True)),
        expires=draw.one((None,) * 6 + (SECOND, 4 * SECOND)),
        unique=draw.one((None, None, None, "u", "v")),
        retain=draw.one(RETAIN),
        owner=draw.one((None, "o")),
        meta=draw.one((b"", b"m")),
    )


# ---- claim, settle, extend ----


def claim(draw: Draw, pair: Pair) -> None:
    tasks = draw.one((*[TASKS] * 6, ("t1",), ("t2", "t3"), ("unknown",)))
    n, lease = draw.one((1, 2, 3, 10)), draw.one((60 * SECOND, 60 * SECOND, 5 * SECOND, SECOND))
    pair.do("claim", pair.call(draw.one(CALLERS)), draw.one(("w1", "w2")), n, lease, tasks)


def settle(draw: Draw, pair: Pair) -> None:
    pair.do("settle", pair.call(draw.one(CALLERS)), [_settlement(draw, pair) for _ in range(draw.one((1, 1, 2, 4)))])


def _settlement(draw: Draw, pair: Pair) -> Settlement:
    return Settlement(*_lease(draw, pair), _outcome(draw))


def _lease(draw: Draw, pair: Pair) -> tuple[str, str]:
    """Return the id and token of a lease: mostly one that is held, sometimes any earlier one, or of no job."""
    held = [(job.spec.id, job.token) for job in pair.model.state.jobs if job.token]
    ever = [(lease.spec.id, lease.token) for lease in pair.leases[-20:]]
    missing = [("missing", "nothing")]
    return draw.one((held if draw.one(range(6)) else ever) or ever or missing)


def _outcome(draw: Draw) -> Outcome:
    kind, retain, after = draw.one((Succeed, Fail, Retry, Release, Cancel)), draw.one(RETAIN), draw.one(TIMES)
    if kind is Succeed:
        return Succeed(b"result", retain)
    if kind is Fail:
        return Fail(b"error", draw.one((False, True)), retain)
    if kind is Retry:
        return Retry(after, b"tried", retain)
    if kind is Release:
        return Release(after, retain)
    return Cancel("by the worker", retain)


def extend(draw: Draw, pair: Pair) -> None:
    extensions = [
        Extension(*_lease(draw, pair), draw.one((SECOND, 5 * SECOND, 20 * SECOND)), draw.one((None, b"half")))
        for _ in range(draw.one((1, 1, 3)))
    ]
    pair.do("extend", extensions)


# ---- operators ----


def _ids(draw: Draw, pair: Pair, state: State | None = None) -> list[str]:
    """Return some ids: mostly of jobs in `state`, if it is not None."""
    wanted = [job.spec.id for job in pair.model.state.jobs if state in (None, job.state)]
    return some(draw, wanted if wanted and draw.one(range(4)) else [*pair.ids[-30:], "missing"])


def cancel(draw: Draw, pair: Pair) -> None:
    pair.do("cancel", _ids(draw, pair, draw.one((None, State.RUNNING))), draw.one(("asked", "again")))


def requeue(draw: Draw, pair: Pair) -> None:
    pair.do("requeue", _ids(draw, pair, State.FAILED))


def skip(draw: Draw, pair: Pair) -> None:
    halted = [job.spec.id for job in pair.model.state.jobs if job.halted]
    pair.do("skip", some(draw, halted) or _ids(draw, pair, State.FAILED))


def configure(draw: Draw, pair: Pair) -> None:
    pair.do("configure", [_setting(draw) for _ in range(draw.one((1, 1, 2)))])


def _setting(draw: Draw) -> Setting:
    task = draw.one((None, *TASKS))
    kind = draw.one((Resume, Resume, Resume, Pause, Declare, Declare, Override))
    if kind is Declare:
        return Declare(task, _gate_settings(draw, task))
    if kind is Override:
        return Override(task, draw.one((None, _gate_settings(draw, task))))
    key = draw.one((None, *KEYS))
    return Pause(None if key else task, key) if kind is Pause else Resume(None if key else task, key)


def _gate_settings(draw: Draw, task: str | None) -> GateSettings:
    return GateSettings(
        limit=draw.one((None, None, 1, 2, 4)),
        value_limit=draw.one((None, 1, 2)) if task else None,
        capacity=draw.one((None, None, None, None, None, 4, 15)),
        interval=draw.one((None, None, None, SECOND // 3, 10 * SECOND)),
        burst=draw.one((1, 3)),
    )


def purge(draw: Draw, pair: Pair) -> None:
    pair.do("purge", 1_000)


# ---- repeats, time, reading ----


def repeat(draw: Draw, pair: Pair) -> None:
    if pair.sent:
        pair.repeat(draw.one(list(pair.sent.values())))


def overtaken(draw: Draw, pair: Pair) -> None:
    """Send a late duplicate of an earlier call."""
    if pair.sent:
        sent = draw.one(list(pair.sent.values()))
        pair.do(sent.verb, Call(sent.call.caller, sent.call.number - draw.one((1, 2))), *sent.arguments)


def advance(draw: Draw, pair: Pair) -> None:
    """Advance by some time, or exactly to the next timer, or just before it."""
    timers = [job.timer for job in pair.model.state.jobs if job.timer is not None]
    ahead = max(0, min(timers, default=0) - pair.model.now())
    pair.advance(draw.one((1.0, 0.5, 3.0, 0.0, ahead / SECOND, max(0, ahead - 1) / SECOND, 20.0)))


def set_back(draw: Draw, pair: Pair) -> None:
    pair.set_back(draw.one((1.0, 60.0)))


def reopen(draw: Draw, pair: Pair) -> None:
    pair.reopen()


def find(draw: Draw, pair: Pair) -> None:
    filter = Filter(
        draw.one((None, *State)), draw.one((None, *TASKS)), draw.one((None, *KEYS)), draw.one((None, None, "o"))
    )
    pair.find(filter, draw.one((1, 2, 5)))


def blocked_keys(draw: Draw, pair: Pair) -> None:
    pair.blocked_keys(draw.one((1, 2)), draw.one((None, "o")))


OPERATIONS: dict[Callable[[Draw, Pair], None], int] = {
    put: 9,
    claim: 9,
    settle: 9,
    extend: 2,
    cancel: 2,
    requeue: 2,
    skip: 1,
    configure: 4,
    purge: 1,
    repeat: 2,
    overtaken: 1,
    advance: 5,
    set_back: 1,
    reopen: 1,
    find: 1,
    blocked_keys: 1,
}
"""Every operation, and how often it is chosen."""


def run(pair: Pair, seed: int, steps: int) -> None:
    """
    Do `steps` random operations, and compare everything that can be read after each.

    Each seed prefers some operations and leaves others out: together they get further than a uniform mix does. Some
    seeds compare after each step, some seldom, in case reading repairs the fault that it should find.
    """
    random = Random(seed)
    draw = RandomDraw(random)
    weights = {operation: weight * random.choice((0, 1, 1, 3)) for operation, weight in OPERATIONS.items()}
    for operation in (put, claim, settle):
        weights[operation] = max(1, weights[operation])
    seldom = random.choice((1, 1, 20))
    for step, operation in enumerate(random.choices(list(weights), list(weights.values()), k=steps), 1):
        operation(draw, pair)
        if step % seldom == 0:
            pair.compare_all()
    pair.compare_all()
