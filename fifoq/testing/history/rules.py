"""
The rules of a history: each one finds the violations of a promise in the traces of a run.

Fences give the order of claims; stamps give the order in which producers called.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from math import inf
from typing import NamedTuple

from fifoq.limits import GateSettings
from fifoq.record import State
from fifoq.testing.history.events import Ended, How, Leased, Settled
from fifoq.testing.history.trace import Attempt, Place, Trace, Traces

Bounds = Mapping[tuple[str, str | None], GateSettings]
"""The limits and rates in force during the whole run: the settings of a queue (task None) and of its tasks."""


class Rule(StrEnum):
    """The promises that a history can break."""

    LOST = "lost"
    UNEXPECTED = "unexpected"
    STUCK = "stuck"
    DUPLICATED = "duplicated"
    SETTLE = "settle"
    LEASE = "lease"
    ORDER = "order"
    OVERLAP = "overlap"
    LIMIT = "limit"
    RATE = "rate"
    FENCE = "fence"


class Violation(NamedTuple):
    """One broken promise: a sentence, and the ids of the jobs that it is about."""

    rule: Rule
    text: str
    jobs: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


# ---- the fate of each job: lost, unexpected, stuck, done twice, settled by an old claim ----


def lost(traces: Traces) -> Iterator[Violation]:
    """Acknowledged jobs have ended, and jobs that succeeded have run, with an effect if the tasks have any."""
    effects_known = any(attempt.effects for attempt in traces.attempts())
    for trace in traces.jobs.values():
        if not trace.acknowledged:
            continue
        if trace.final is None and not trace.ended:
            yield _violation(Rule.LOST, trace, "was acknowledged, is not in the store, and no worker saw it end")
        elif trace.final is not None and trace.final.state is State.SUCCEEDED:
            if not trace.attempts:
                yield _violation(Rule.LOST, trace, "is stored as succeeded, but never ran")
            elif effects_known and not any(attempt.effects for attempt in trace.attempts):
                yield _violation(Rule.LOST, trace, "is stored as succeeded, but had no effect")


def unexpected(traces: Traces) -> Iterator[Violation]:
    """Jobs that ran, or are in the store, were enqueued and not refused."""
    for trace in traces.jobs.values():
        if not trace.attempts and trace.final is None:
            continue
        if not trace.asked:
            yield _violation(Rule.UNEXPECTED, trace, "is there, but no producer enqueued it")
        elif trace.refused:
            yield _violation(Rule.UNEXPECTED, trace, "is there, but its enqueue was refused")
    for event in traces.unmatched:
        # A job may be claimed and settled before its task begins: released by a shutdown, failed for its arguments.
        if not isinstance(event, Settled | Leased):
            kind = "end" if isinstance(event, Ended) else "effect"
            text = (
                f"an {kind} of job {event.job} of {event.queue!r} has fence {event.fence}, under which it never began"
            )
            yield Violation(Rule.UNEXPECTED, text, (event.job,))


def stuck(traces: Traces) -> Iterator[Violation]:
    """Every attempt has ended, and every job, unless it waits behind a halted job of its key."""
    closed = {
        (trace.queue, trace.key)
        for trace in traces.jobs.values()
        if trace.key is not None and trace.final is not None and trace.final.halted
    }
    for trace in traces.jobs.values():
        final = trace.final
        behind = (trace.queue, trace.key) in closed and final is not None and final.state is not State.RUNNING
        if final is not None and not final.state.ended and not behind:
            yield _violation(Rule.STUCK, trace, f"is still {final.state}")
        for attempt in trace.attempts:
            if attempt.end is None and not attempt.cut:
                yield _violation(Rule.STUCK, trace, f"has an {attempt} that began and never ended")


def duplicated(traces: Traces) -> Iterator[Violation]:
    """A job that was done is not done again, unless a fault put its earlier attempt in doubt."""
    for trace in traces.jobs.values():
        for attempt, later in pairwise(trace.attempts):
            if attempt.life == later.life and _is_done(attempt):
                yield _violation(Rule.DUPLICATED, trace, f"ran in {attempt}, which had done it, and again in {later}")
        for attempt in trace.attempts:
            if len(attempt.effects) > 1:
                count = len(attempt.effects)
                yield _violation(Rule.DUPLICATED, trace, f"had {count} effects in one {attempt}")


def settled(traces: Traces) -> Iterator[Violation]:
    """Only the newest claim of a job settles it, a life ends once, and the stored state is that of the last reply."""
    for trace in traces.jobs.values():
        yield from _settled_late(trace)
        yield from _ended_twice(trace)


def taken_early(traces: Traces) -> Iterator[Violation]:
    """
    A lease is good to its end: before that, no other claim gets the job, unless its worker had put it back.

    The last tenth of a lease does not count: a worker that gets a job so late hands it back, without an event.
    """
    for trace in traces.jobs.values():
        for attempt, later in pairwise(trace.attempts):
            if attempt.life != later.life or _put_back(attempt, later.start.at):
                continue
            sooner = max((one.until - (one.until - one.asked_at) // 10 for one in attempt.leases), default=0)
            if later.start.at < sooner:
                early = (sooner - later.start.at) / 1e6
                yield _violation(
                    Rule.LEASE, trace, f"was given to {later} {early:.1f} ms before the lease of {attempt} could end"
                )


def _put_back(attempt: Attempt, at: int) -> bool:
    """Whether its worker had given the job up by then. What it does after the next claim excuses nothing."""
    settlement, end = attempt.settlement, attempt.end
    if settlement is not None and settlement.asked_at <= at:
        return True
    return end is not None and end.how is not How.RETURNED and end.at <= at


def _settled_late(trace: Trace) -> Iterator[Violation]:
    for attempt, later in pairwise(trace.attempts):
        for one in attempt.settled:
            if one.state is not None and one.asked_at > later.start.at:
                yield _violation(Rule.SETTLE, trace, f"was settled by {attempt} although {later} had begun")


def _ended_twice(trace: Trace) -> Iterator[Violation]:
    ends = [(attempt, one.state) for attempt in trace.attempts if (one := attempt.settlement) and one.state is not None]
    ends = [(attempt, state) for attempt, state in ends if state.ended]
    for (attempt, _), (later, _) in pairwise(ends):
        if attempt.life == later.life:
            yield _violation(Rule.SETTLE, trace, f"was ended by {attempt} and again by {later}")
    if ends and trace.final is not None and len(trace.requeues) == ends[-1][0].life:
        attempt, state = ends[-1]
        if trace.final.state is not state:
            yield _violation(
                Rule.SETTLE, trace, f"{attempt} got the reply {state}, but it is stored as {trace.final.state}"
            )


def _is_done(attempt: Attempt) -> bool:
    """Whether no later attempt is justified: it returned, or had its effect, and no fault cut it."""
    if attempt.in_doubt:
        return False
    if attempt.end is None:
        return bool(attempt.effects)
    return attempt.end.how is How.RETURNED


def _violation(rule: Rule, trace: Trace, text: str) -> Violation:
    return Violation(rule, f"{trace} {text}", (trace.id,))


# ---- order of entry and of runs ----


def order(traces: Traces) -> Iterator[Violation]:
    """Per key: jobs run in the order of the producers' calls, each to its end before the next, and seqs never fall."""
    for (queue, key), line in traces.lines().items():
        where = f"key {key!r} of {queue!r}"
        yield from _call_order(line, where)
        attempts = sorted((one for trace in line for one in trace.attempts), key=lambda one: one.start.fence)
        yield from _held(attempts, where)
        yield from _seq_order(attempts, where)


def entry(traces: Traces) -> Iterator[Violation]:
    """Per queue: the entries in the store are in the order of the producers' calls."""
    queues: dict[str, list[tuple[int, Place]]] = {}
    for trace in traces.jobs.values():
        place = trace.place()
        if trace.final is not None and trace.final.entry is not None and place is not None:
            queues.setdefault(trace.queue, []).append((trace.final.entry, place))
    for queue, places in queues.items():
        line = [place for _, place in sorted(places)]
        for first, second, why in _inversions(line, ()):
            text = f"job {first.job} entered {queue!r} before job {second.job}, which {why}"
            yield Violation(Rule.ORDER, text, (first.job, second.job))


def overlap(traces: Traces) -> Iterator[Violation]:
    """Within a key, and within an unkeyed job, an attempt begins after all earlier ones are over."""
    for where, attempts in traces.successions().items():
        longest: Attempt | None = None
        for attempt in sorted(attempts, key=lambda one: one.start.at):
            if longest is not None and attempt.start.at < longest.until and not attempt.late:
                text = f"{where}: {_name(attempt)} began while {_name(longest)} ran"
                yield Violation(Rule.OVERLAP, text, (attempt.start.job, longest.start.job))
            longest = attempt if longest is None or attempt.until > longest.until else longest


def _call_order(line: Sequence[Trace], where: str) -> Iterator[Violation]:
    begun = [(trace.attempts[0].start.fence, trace) for trace in line if trace.attempts]
    began = [place for _, trace in sorted(begun, key=lambda one: one[0]) if (place := _in_line(trace))]
    waiting = [trace for trace in line if not trace.attempts and trace.acknowledged and not _is_over(trace)]
    pending = [place for trace in waiting if (place := _in_line(trace))]
    for first, second, why in _inversions(began, pending):
        text = f"{where}: job {first.job} began before job {second.job}, which {why}"
        yield Violation(Rule.ORDER, text, (first.job, second.job))


def _in_line(trace: Trace) -> Place | None:
    place = trace.place()
    return place if place is not None and not place.delayed else None


def _is_over(trace: Trace) -> bool:
    """Whether a job without an attempt has left the line: cancelled, or its attempts died before their first event."""
    return trace.final is not None and trace.final.state.ended


def _inversions(line: Iterable[Place], pending: Iterable[Place]) -> Iterator[tuple[Place, Place, str]]:
    """
    Yield (ahead, behind, why) for each place of `line` that should have been ahead of an earlier one.

    `pending` come behind all of the line, in no order among themselves. One pass suffices: of all places ahead, the one
    asked for last and the newest of each producer are the first that can be wrong.
    """
    newest: Place | None = None
    calls: dict[str, Place] = {}

    def find(place: Place) -> Iterator[tuple[Place, Place, str]]:
        call = calls.get(place.producer)
        if newest is not None and place.known_at < newest.asked_at:
            yield newest, place, "was acknowledged before the other was asked for"
        elif call is not None and place.number < call.number:
            yield call, place, f"producer {place.producer} had asked for before"

    for place in line:
        yield from find(place)
        newest = place if newest is None or place.asked_at > newest.asked_at else newest
        call = calls.get(place.producer)
        calls[place.producer] = place if call is None or place.number > call.number else call
    for place in pending:
        yield from find(place)


def _held(attempts: Sequence[Attempt], where: str) -> Iterator[Violation]:
    """A retry holds the line: between the first and the last attempt of a job, no other job of its key runs."""
    left: dict[tuple[str, int], Attempt] = {}
    for before, after in pairwise(attempts):
        if _life(before) == _life(after):
            continue
        left[_life(before)] = after
        overtaker = left.get(_life(after))
        if overtaker is not None:
            text = f"{where}: job {after.start.job} had to run again, but {_name(overtaker)} went first"
            yield Violation(Rule.ORDER, text, (after.start.job, overtaker.start.job))


def _seq_order(attempts: Sequence[Attempt], where: str) -> Iterator[Violation]:
    placed = [one for one in attempts if one.start.seq is not None]
    for before, after in pairwise(placed):
        if (before.start.seq or 0) > (after.start.seq or 0):
            text = f"{where}: {_name(before)} with seq {before.start.seq} was claimed before "
            text += f"{_name(after)} with seq {after.start.seq}"
            yield Violation(Rule.ORDER, text, (before.start.job, after.start.job))


def _life(attempt: Attempt) -> tuple[str, int]:
    return attempt.start.job, attempt.life


def _name(attempt: Attempt) -> str:
    return f"job {attempt.start.job}, {attempt},"


# ---- limits and rates ----


def limits(traces: Traces, bounds: Bounds) -> Iterator[Violation]:
    """No queue, task or value ran more attempts at a time than its limit."""
    gates: dict[tuple[str, str | None, str | None], list[Attempt]] = defaultdict(list)
    for attempt in traces.attempts():
        start = attempt.start
        gates[start.queue, None, None].append(attempt)
        gates[start.queue, start.task, None].append(attempt)
        if start.value is not None:
            gates[start.queue, start.task, start.value].append(attempt)
    for (queue, task, value), attempts in gates.items():
        settings = bounds.get((queue, task), GateSettings())
        width = settings.limit if value is None else settings.value_limit
        if width is not None:
            yield from _too_many(attempts, width, _gate(queue, task, value))


def _too_many(attempts: Iterable[Attempt], width: int, gate: str) -> Iterator[Violation]:
    """Sweep over starts and ends, in order of time, ends first. One violation each time that the limit is crossed."""
    changes: list[tuple[float, bool, Attempt]] = []
    for attempt in attempts:
        if attempt.until > attempt.start.at:
            changes += (attempt.start.at, True, attempt), (attempt.until, False, attempt)
    running: dict[int, Attempt] = {}
    for _, begins, attempt in sorted(changes, key=lambda one: one[:2]):
        if not begins:
            running.pop(attempt.start.fence, None)
            continue
        running[attempt.start.fence] = attempt
        if len(running) == width + 1:
            jobs = tuple(one.start.job for one in running.values())
            shown = ", ".join(jobs[:20]) + (", …" if len(jobs) > 20 else "")
            yield Violation(Rule.LIMIT, f"{gate} ran {len(jobs)} at a time, its limit is {width}: {shown}", jobs)


def rates(traces: Traces, bounds: Bounds) -> Iterator[Violation]:
    """In every window, no more claims than the burst and the tokens that the rate adds."""
    gates: dict[tuple[str, str | None], list[Attempt]] = defaultdict(list)
    for attempt in traces.attempts():
        gates[attempt.start.queue, None].append(attempt)
        gates[attempt.start.queue, attempt.start.task].append(attempt)
    for (queue, task), attempts in gates.items():
        settings = bounds.get((queue, task), GateSettings())
        if settings.interval is not None:
            yield from _too_fast(attempts, settings.interval, settings.burst, _gate(queue, task, None))


def _too_fast(attempts: Iterable[Attempt], interval: int, burst: int, gate: str) -> Iterator[Violation]:
    """Simulate a token bucket: it finds exactly the violations that a check of all windows would."""
    full_at = -inf
    for attempt in sorted(attempts, key=lambda one: one.start.claimed_at or 0):
        at = attempt.start.claimed_at
        job = attempt.start.job
        if at is None:
            yield Violation(
                Rule.RATE, f"{gate} has a rate, but the start of job {job}, {attempt}, has no time of its claim", (job,)
            )
            continue
        if full_at - at > (burst - 1) * interval:
            text = f"{gate} claimed job {job}, {attempt}, {full_at - at - (burst - 1) * interval:.0f} µs too early"
            yield Violation(Rule.RATE, f"{text} for a token every {interval} µs, burst {burst}", (job,))
        full_at = max(full_at, at) + interval


def _gate(queue: str, task: str | None, value: str | None) -> str:
    if task is None:
        return f"queue {queue!r}"
    return f"task {task!r} of {queue!r}" + (f" for value {value!r}" if value is not None else "")


# ---- fences ----


def fences(traces: Traces) -> Iterator[Violation]:
    """Each claim has a fence of its own, the larger the later, and no effect comes after one with a larger fence."""
    for start in traces.reused_fences:
        text = (
            f"job {start.job} of {start.queue!r}, attempt {start.attempt}, has fence {start.fence} of another attempt"
        )
        yield Violation(Rule.FENCE, text, (start.job,))
    yield from _fences_of_queues(traces)
    for attempts in traces.successions().values():
        yield from _fences_of_succession(attempts)


def _fences_of_queues(traces: Traces) -> Iterator[Violation]:
    """In the store's own time, where the log has it: claims are in the order of their fences."""
    claims = [one for one in traces.attempts() if one.start.claimed_at is not None]
    for before, after in pairwise(claims):
        a, b = before.start, after.start
        if a.queue == b.queue and (a.claimed_at or 0) > (b.claimed_at or 0):
            text = f"{a.queue!r}: job {b.job}, {after}, was claimed before job {a.job}, {before}"
            yield Violation(Rule.FENCE, text, (b.job, a.job))


def _fences_of_succession(attempts: Iterable[Attempt]) -> Iterator[Violation]:
    """
    In one key, by the stamps: the fences of starts and effects, in order of time, never fall.

    An attempt in doubt may begin late, and try its effect. An effect with a smaller fence than an earlier effect is
    always wrong: the user's store should have refused it.
    """
    moments = [(one.start.at, 0, one) for one in attempts]
    moments += [(effect.at, 1, one) for one in attempts for effect in one.effects]
    begun = done = -1
    for _, is_effect, attempt in sorted(moments, key=lambda one: one[:2]):
        fence = attempt.start.fence
        late = attempt.lapsed or bool(attempt.doubts)
        newest = done if late else max(begun, done)
        if fence < newest and (is_effect or not late):
            deed = "had an effect" if is_effect else "began"
            text = f"job {attempt.start.job}, {attempt}, {deed} after fence {newest} of its key was in use"
            yield Violation(Rule.FENCE, text, (attempt.start.job,))
        begun, done = max(begun, fence), max(done, fence) if is_effect else done
