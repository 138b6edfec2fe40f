"""Any valid history passes, however its events are shuffled; any fault planted in one is found."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fifoq.limits import GateSettings
from fifoq.record import State
from fifoq.testing.history import (
    Answer,
    Answered,
    Asked,
    Bounds,
    Doubted,
    Effect,
    Ended,
    Event,
    Final,
    How,
    Rule,
    Settled,
    Started,
    check,
)

Q = "q"


class Run(NamedTuple):
    """One attempt that is under way in the simulated run."""

    job: str
    fence: int
    key: str | None


class Simulation:
    """A valid run: producers that call concurrently, retries, crashes, several keys, and a limit of 4."""

    def __init__(self, rng: random.Random, jobs: int) -> None:
        self.rng, self.now = rng, 0
        self.events: list[Event] = []
        self.left, self.calls = [f"j{number}" for number in range(jobs)], 0
        self.asked: dict[str, list[tuple[str, str | None, int]]] = {"p1": [], "p2": []}
        self.entered: list[tuple[str, str, str | None, int]] = []
        self.line: list[tuple[str, str | None]] = []
        self.tries: dict[str, int] = {}
        self.running: list[Run] = []
        self.fence = self.entries = 0
        while self.step():
            pass

    def tick(self) -> int:
        self.now += 1
        return self.now

    def step(self) -> bool:
        steps: list[Callable[[], None]] = []
        steps += [self.ask] * bool(self.left) + [self.enter] * any(self.asked.values())
        steps += [self.answer] * bool(self.entered) + [self.start] * bool(self.free()) * (len(self.running) < 4)
        steps += [self.end] * 2 * bool(self.running)
        if steps:
            self.rng.choice(steps)()
        return bool(steps)

    def ask(self) -> None:
        job, producer = self.left.pop(), self.rng.choice(list(self.asked))
        # With a single job, a key has no order that could be broken.
        key = "k1" if len(self.left) < 2 else self.rng.choice(["k1", "k2", "k3", None])
        self.calls += 1
        self.asked[producer].append((job, key, self.calls))
        self.events.append(Asked(self.tick(), Q, job, key, producer, self.calls))

    def enter(self) -> None:
        producer = self.rng.choice([name for name, calls in self.asked.items() if calls])
        job, key, call = self.asked[producer].pop(0)
        self.entered.append((job, producer, key, call))
        self.line.append((job, key))
        self.entries += 1
        self.events.append(Final(Q, job, State.SUCCEEDED, entry=self.entries))

    def answer(self) -> None:
        job, producer, _, call = self.entered.pop(self.rng.randrange(len(self.entered)))
        self.events.append(Answered(self.tick(), Q, job, producer, call, Answer.ACCEPTED))

    def free(self) -> list[tuple[str, str | None]]:
        busy = {run.key for run in self.running} - {None}
        free: list[tuple[str, str | None]] = []
        for job, key in self.line:
            if key is None or key not in busy:
                free.append((job, key))
            busy |= {key} - {None}
        return [one for one in free if one[0] not in {run.job for run in self.running}]

    def start(self) -> None:
        job, key = self.rng.choice(self.free())
        self.fence += 1
        self.tries[job] = self.tries.get(job, 0) + 1
        self.running.append(Run(job, self.fence, key))
        at = self.tick()
        self.events.append(Started(at, Q, job, self.fence, f"w{self.fence}", self.tries[job], "t", claimed_at=at))

    def end(self) -> None:
        run = self.running.pop(self.rng.randrange(len(self.running)))
        how = self.rng.choice([How.RAISED, None, *[How.RETURNED] * 4])
        if how is not How.RAISED:
            self.events.append(Effect(self.tick(), Q, run.job, run.fence))
        if how is None:
            self.events.append(Doubted(self.tick(), f"w{run.fence}"))
        else:
            self.events.append(Ended(self.tick(), Q, run.job, run.fence, how))
        if how is How.RETURNED:
            self.line.remove((run.job, run.key))


def of(events: list[Event], kind: type, **want: object) -> list[int]:
    """Return the indexes of the events of a kind that have these fields."""
    found = [place for place, event in enumerate(events) if isinstance(event, kind)]
    return [place for place in found if all(getattr(events[place], name) == value for name, value in want.items())]


def plant_lost(events: list[Event], rng: random.Random) -> None:
    job = rng.choice([event.job for event in events if isinstance(event, Final)])
    events[:] = [event for event in events if isinstance(event, Doubted | Asked | Answered) or event.job != job]


def plant_stranger(events: list[Event], rng: random.Random) -> None:
    events.append(Final(Q, "stranger", State.SUCCEEDED))


def plant_stuck(events: list[Event], rng: random.Random) -> None:
    place = rng.choice(of(events, Final))
    events[place] = Final(Q, events[place].job, rng.choice([State.WAITING, State.RUNNING]))  # type: ignore[union-attr]


def plant_second_run(events: list[Event], rng: random.Random) -> None:
    job = events[rng.choice(of(events, Ended, how=How.RETURNED))].job  # type: ignore[union-attr]
    events += [Started(10**6, Q, job, 10**6, "w", 9, "t"), Ended(10**6 + 1, Q, job, 10**6, How.RETURNED)]


def plant_second_effect(events: list[Event], rng: random.Random) -> None:
    events.append(events[rng.choice(of(events, Effect))])


def plant_never_ending(events: list[Event], rng: random.Random) -> None:
    del events[rng.choice(of(events, Ended))]


def plant_swapped_entries(events: list[Event], rng: random.Random) -> None:
    """The job that was acknowledged first enters last."""
    first = min((event for event in events if isinstance(event, Answered)), key=lambda one: one.at)
    late = Asked(10**6, Q, "late", None, "p3", 1)
    final = events[of(events, Final, job=first.job)[0]]
    assert isinstance(final, Final)
    events += [late, Final(Q, "late", State.CANCELLED, entry=final.entry - 1 if final.entry else 0)]


def plant_overtaking(events: list[Event], rng: random.Random) -> None:
    """The first keyed job to run is enqueued after all others have been acknowledged."""
    keyed = {event.job: event for event in events if isinstance(event, Asked) and event.key == "k1"}
    runs = sorted(
        (event for event in events if isinstance(event, Started) and event.job in keyed), key=lambda one: one.fence
    )
    job = runs[0].job
    events[events.index(keyed[job])] = keyed[job]._replace(at=10**6, producer="p3")
    place = of(events, Answered, job=job)[0]
    events[place] = events[place]._replace(at=10**6 + 1, producer="p3")  # type: ignore[call-arg]


def plant_overlap(events: list[Event], rng: random.Random) -> None:
    """A run of a key begins before the one before it is over."""
    keys = {event.job: event.key for event in events if isinstance(event, Asked)}
    runs = [event for event in events if isinstance(event, Started) and keys[event.job] == "k1"]
    after = runs[1]
    events[events.index(after)] = after._replace(at=runs[0].at)


def plant_same_fence(events: list[Event], rng: random.Random) -> None:
    start = events[rng.choice(of(events, Started))]
    assert isinstance(start, Started)
    events.append(start._replace(at=start.at + 1))


def plant_falling_fence(events: list[Event], rng: random.Random) -> None:
    """Two runs of a key have each other's fences."""
    keys = {event.job: event.key for event in events if isinstance(event, Asked)}
    one, two = [event.fence for event in events if isinstance(event, Started) and keys[event.job] == "k1"][:2]
    swap = {one: two, two: one}
    for place, event in enumerate(events):
        if isinstance(event, Started | Effect | Ended):
            events[place] = event._replace(fence=swap.get(event.fence, event.fence))


def plant_stale_settlement(events: list[Event], rng: random.Random) -> None:
    start = events[rng.choice(of(events, Started))]
    assert isinstance(start, Started)
    events += [
        Started(10**6, Q, start.job, 10**6, "w", 9, "t"),
        Ended(10**6 + 1, Q, start.job, 10**6, How.RETURNED),
        Settled(10**6 + 3, Q, start.job, start.fence, 10**6 + 2, State.SUCCEEDED),
    ]


FAULTS: dict[Callable[[list[Event], random.Random], None], Rule] = {
    plant_lost: Rule.LOST,
    plant_stranger: Rule.UNEXPECTED,
    plant_stuck: Rule.STUCK,
    plant_second_run: Rule.DUPLICATED,
    plant_second_effect: Rule.DUPLICATED,
    plant_never_ending: Rule.STUCK,
    plant_swapped_entries: Rule.ORDER,
    plant_overtaking: Rule.ORDER,
    plant_overlap: Rule.OVERLAP,
    plant_same_fence: Rule.FENCE,
    plant_falling_fence: Rule.FENCE,
    plant_stale_settlement: Rule.SETTLE,
}
BOUNDS: Bounds = {(Q, None): GateSettings(limit=4), (Q, "t"): GateSettings(limit=4)}


@given(rng=st.randoms(use_true_random=False), jobs=st.integers(0, 40))
@settings(deadline=None)
def test_any_valid_history_passes_in_whatever_order_it_is_read(rng: random.Random, jobs: int) -> None:
    events = Simulation(rng, jobs).events
    rng.shuffle(events)
    report = check(events, BOUNDS)
    assert report.ok, str(report)
    assert report.jobs == jobs


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_a_fault_planted_in_any_valid_history_is_found(
    plant: Callable[[list[Event], random.Random], None], seed: int
) -> None:
    rng = random.Random(seed)
    events = Simulation(rng, 40).events
    plant(events, rng)
    rng.shuffle(events)
    assert FAULTS[plant] in check(events, BOUNDS).rules


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_a_limit_or_a_rate_that_any_history_exceeds_is_found(seed: int) -> None:
    events = Simulation(random.Random(seed), 40).events
    running = most = 0
    for event in events:
        running += isinstance(event, Started) - isinstance(event, Ended | Doubted)
        most = max(most, running)
    assert check(events, {(Q, None): GateSettings(limit=most)}).ok
    if most > 1:
        assert check(events, {(Q, None): GateSettings(limit=most - 1)}).rules == {Rule.LIMIT}
    claims = sorted(event.claimed_at or 0 for event in events if isinstance(event, Started))
    closest = min(after - before for before, after in pairwise(claims))
    assert check(events, {(Q, "t"): GateSettings(interval=closest)}).ok
    assert check(events, {(Q, "t"): GateSettings(interval=closest + 1)}).rules == {Rule.RATE}
