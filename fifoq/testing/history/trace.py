"""Traces: the events of a run, grouped by job and attempt."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from fifoq.testing.history.events import (
    Answer,
    Answered,
    Asked,
    Doubted,
    Effect,
    Ended,
    Event,
    Final,
    How,
    Leased,
    Requeued,
    Settled,
    Started,
)


class Place(NamedTuple):
    """The place of one job as its producer observed it: it entered by this call, between these times."""

    job: str
    producer: str
    number: int
    asked_at: int
    known_at: float
    """When the producer got the acknowledgement; infinity without one."""
    delayed: bool


@dataclass(slots=True)
class Attempt:
    """One attempt of a job: its events in the task, its leases and its settlements."""

    start: Started
    life: int
    """How often the job had been requeued before."""
    end: Ended | None = None
    effects: list[Effect] = field(default_factory=list[Effect])
    settled: list[Settled] = field(default_factory=list[Settled])
    leases: list[Leased] = field(default_factory=list[Leased])
    doubts: tuple[Doubted, ...] = ()
    lapsed: bool = False
    """A later attempt of its job began when its lease may have been over: its worker was too slow to extend it."""

    @property
    def good_until(self) -> float:
        """The earliest end of its lease, as far as its worker observed."""
        return max((one.until for one in self.leases), default=inf)

    @property
    def settlement(self) -> Settled | None:
        """The settlement that ended its lease, if the worker got a reply to one."""
        return next((one for one in self.settled if one.state is not None), None)

    @property
    def in_doubt(self) -> bool:
        """Whether its lease may have been cut, or run out: then, and only then, its work may be done again."""
        return (bool(self.doubts) or self.lapsed) and self.settlement is None

    @property
    def late(self) -> bool:
        """Whether it began when its lease may have been over: its worker was frozen between claim and start."""
        return self.start.at >= min(self.good_until, *(doubt.at for doubt in self.doubts), inf)

    @property
    def cut(self) -> bool:
        """Whether a planted fault hit it while it ran."""
        return any(self.end is None or self.end.at > doubt.at for doubt in self.doubts)

    @property
    def until(self) -> float:
        """The latest time at which it may have run under its lease."""
        cuts = [doubt.at for doubt in self.doubts]
        over = self.end.at if self.end else inf
        return max(self.start.at, min(over, self.good_until, *cuts))

    def __str__(self) -> str:
        return f"attempt {self.start.attempt} (fence {self.start.fence}, worker {self.start.worker})"


@dataclass(slots=True)
class Trace:
    """The events of one job."""

    queue: str
    id: str
    key: str | None = None
    asked: list[Asked] = field(default_factory=list[Asked])
    answers: dict[tuple[str, int], Answered] = field(default_factory=dict[tuple[str, int], Answered])
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    """In order of their fences: the order of claims."""
    requeues: list[int] = field(default_factory=list[int])
    final: Final | None = None

    def __str__(self) -> str:
        return f"job {self.id} of {self.queue!r}" + (f", key {self.key!r}" if self.key is not None else "")

    @property
    def acknowledged(self) -> bool:
        return any(one.answer in (Answer.ACCEPTED, Answer.REPEATED) for one in self.answers.values())

    @property
    def refused(self) -> bool:
        """Whether each call that enqueued it was refused."""
        answers = [self.answers.get((call.producer, call.number)) for call in self.asked]
        return bool(answers) and all(one is not None and one.answer is Answer.REFUSED for one in answers)

    @property
    def ended(self) -> bool:
        """Whether the history shows its end: in the store, or in the events of a worker."""
        if self.final is not None:
            return self.final.state.ended
        return any(
            (one.settlement is not None and one.settlement.state is not None and one.settlement.state.ended)
            or (one.end is not None and one.end.how is How.RETURNED)
            for one in self.attempts
        )

    def place(self) -> Place | None:
        """Return its place, or None if several calls enqueued it and none of them is known to have created it."""
        acknowledged = [one for one in self.answers.values() if one.answer in (Answer.ACCEPTED, Answer.REPEATED)]
        created = next((one for one in acknowledged if one.answer is Answer.ACCEPTED), None)
        by_call = {(call.producer, call.number): call for call in self.asked}
        call = by_call.get((created.producer, created.number)) if created else None
        if call is None and len(self.asked) == 1:
            call = self.asked[0]
        if call is None:
            return None
        return Place(
            self.id,
            call.producer,
            call.number,
            call.at,
            min((one.at for one in acknowledged), default=inf),
            call.delayed,
        )


Ident = tuple[str, str]
"""A queue and a job's id in it."""


class Traces:
    """The traces of all jobs of a run."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.jobs: dict[Ident, Trace] = {}
        self.unmatched: list[Effect | Ended | Settled | Leased] = []
        """Events of attempts whose start no log has."""
        self.reused_fences: list[Started] = []
        """Starts with a fence that another attempt of the queue has."""
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._doubts: dict[str, list[Doubted]] = defaultdict(list)
        self._read(events)

    def job(self, queue: str, id: str) -> Trace:
        """Return the trace of a job, made at its first event."""
        trace = self.jobs.get((queue, id))
        if trace is None:
            trace = self.jobs[queue, id] = Trace(queue, id)
        return trace

    def attempts(self) -> list[Attempt]:
        """Return all attempts, in order of queue and fence."""
        return [self._attempts[ident] for ident in sorted(self._attempts)]

    def successions(self) -> dict[str, list[Attempt]]:
        """Return the attempts that must not overlap, by the name of their key or, without a key, of their job."""
        lines: dict[tuple[str, str | None, str], list[Attempt]] = defaultdict(list)
        for trace in self.jobs.values():
            lines[trace.queue, trace.key, "" if trace.key is not None else trace.id] += trace.attempts
        return {
            (f"key {key!r} of {queue!r}" if key is not None else f"job {id} of {queue!r}"): attempts
            for (queue, key, id), attempts in lines.items()
        }

    def lines(self) -> dict[tuple[str, str], list[Trace]]:
        """Return the jobs of each key, by queue and key."""
        lines: dict[tuple[str, str], list[Trace]] = defaultdict(list)
        for trace in self.jobs.values():
            if trace.key is not None:
                lines[trace.queue, trace.key].append(trace)
        return lines

    def _read(self, events: Iterable[Event]) -> None:
        later: list[Event] = []
        for event in events:
            match event:
                case Asked():
                    trace = self.job(event.queue, event.job)
                    trace.key = event.key
                    trace.asked.append(event)
                case Answered():
                    self.job(event.queue, event.job).answers[event.producer, event.number] = event
                case Requeued():
                    self.job(event.queue, event.job).requeues.append(event.at)
                case Final():
                    self.job(event.queue, event.job).final = event
                case Doubted():
                    self._doubts[event.worker].append(event)
                case _:
                    later.append(event)
        self._read_attempts(later)

    def _read_attempts(self, events: list[Event]) -> None:
        """Read starts first, in any order of the files; the other events find their attempt by the fence."""
        for event in events:
            if isinstance(event, Started):
                self._read_start(event)
        for event in events:
            if isinstance(event, Effect | Ended | Settled | Leased):
                self._read_of_attempt(event)
        for _, attempt in sorted(self._attempts.items()):
            before = self.jobs[attempt.start.queue, attempt.start.job].attempts
            if before:
                before[-1].lapsed = before[-1].good_until <= attempt.start.at
            before.append(attempt)

    def _read_start(self, start: Started) -> None:
        if (start.queue, start.fence) in self._attempts:
            self.reused_fences.append(start)
            return
        trace = self.job(start.queue, start.job)
        trace.requeues.sort()
        doubts = (one for one in self._doubts.get(start.worker, ()) if one.until is None or start.at <= one.until)
        self._attempts[start.queue, start.fence] = Attempt(
            start, bisect_right(trace.requeues, start.at), doubts=tuple(doubts)
        )

    def _read_of_attempt(self, event: Effect | Ended | Settled | Leased) -> None:
        attempt = self._attempts.get((event.queue, event.fence))
        if attempt is None or attempt.start.job != event.job:
            self.unmatched.append(event)
        elif isinstance(event, Effect):
            attempt.effects.append(event)
        elif isinstance(event, Ended):
            attempt.end = event
        elif isinstance(event, Leased):
            attempt.leases.append(event)
        else:
            attempt.settled.append(event)
