"""A history written step by step, for the tests of its checker."""

import pytest

from fifoq.limits import GateSettings
from fifoq.record import State
from fifoq.testing.history import (
    Answer,
    Answered,
    Asked,
    Effect,
    Ended,
    Event,
    Final,
    How,
    Report,
    Settled,
    Started,
    check,
)

Q = "q"


class Story:
    """A history written step by step. Each step is one tick later than the one before."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now = 0
        self._call = 0

    def tick(self, at: int | None = None) -> int:
        self.now = self.now + 1 if at is None else at
        return self.now

    def ask(self, job: str, key: str | None = "k", producer: str = "p", number: int | None = None, **more: bool) -> int:
        self._call += 1
        call = self._call if number is None else number
        self.events.append(Asked(self.tick(), Q, job, key, producer, call, **more))
        return call

    def answer(self, job: str, call: int, answer: Answer = Answer.ACCEPTED, producer: str = "p") -> None:
        self.events.append(Answered(self.tick(), Q, job, producer, call, answer))

    def put(self, *jobs: str, key: str | None = "k", producer: str = "p") -> None:
        for job in jobs:
            self.answer(job, self.ask(job, key, producer), producer=producer)

    def start(self, job: str, fence: int, attempt: int = 1, worker: str = "w", **more: object) -> None:
        self.events.append(Started(self.tick(), Q, job, fence, worker, attempt, "t", **more))  # type: ignore[arg-type]

    def effect(self, job: str, fence: int) -> None:
        self.events.append(Effect(self.tick(), Q, job, fence))

    def end(self, job: str, fence: int, how: How = How.RETURNED) -> None:
        self.events.append(Ended(self.tick(), Q, job, fence, how))

    def settle(self, job: str, fence: int, state: State | None, asked_at: int | None = None) -> None:
        asked_at = self.tick() if asked_at is None else asked_at
        self.events.append(Settled(self.tick(), Q, job, fence, asked_at, state))

    def final(self, *jobs: str, state: State = State.SUCCEEDED, halted: bool = False) -> None:
        self.events += [Final(Q, job, state, halted) for job in jobs]

    def run(self, job: str, fence: int, attempt: int = 1, how: How = How.RETURNED, **more: object) -> None:
        self.start(job, fence, attempt, **more)  # type: ignore[arg-type]
        self.effect(job, fence)
        self.end(job, fence, how)

    def add(self, event: Event) -> None:
        self.events.append(event)

    def check(self, queue: GateSettings | None = None, task: GateSettings | None = None) -> Report:
        given = {(Q, None): queue, (Q, "t"): task}
        return check(self.events, {gate: settings for gate, settings in given.items() if settings})


@pytest.fixture
def story() -> Story:
    return Story()
