"""Whether more ran at a time, or began in a time, than was allowed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from math import inf

from fifoq.limits import GateSettings
from fifoq.testing.history.report import Rule, Violation
from fifoq.testing.history.trace import Attempt, Traces

Bounds = Mapping[tuple[str, str | None], GateSettings]
"""What was allowed during the whole run: the settings of a queue (task None) and of its tasks."""


def limits(traces: Traces, bounds: Bounds) -> Iterator[Violation]:
    """No queue, task or value ever ran more attempts at a time than its width."""
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
    """Sweep over starts and ends, in order of time, ends first; one violation each time that the width is crossed."""
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
    """In every window, no more claims than the burst and what the rate adds."""
    gates: dict[tuple[str, str | None], list[Attempt]] = defaultdict(list)
    for attempt in traces.attempts():
        gates[attempt.start.queue, None].append(attempt)
        gates[attempt.start.queue, attempt.start.task].append(attempt)
    for (queue, task), attempts in gates.items():
        settings = bounds.get((queue, task), GateSettings())
        if settings.interval is not None:
            yield from _too_fast(attempts, settings.interval, settings.burst, _gate(queue, task, None))


def _too_fast(attempts: Iterable[Attempt], interval: int, burst: int, gate: str) -> Iterator[Violation]:
    """A token bucket finds exactly what a look at all windows would: the two are the same condition."""
    full_at = -inf
    for attempt in sorted(attempts, key=lambda one: one.start.claimed_at or 0):
        at = attempt.start.claimed_at
        job = attempt.start.job
        if at is None:
            yield Violation(Rule.RATE, f"{gate} has a rate, but job {job}, {attempt}, does not say its claim", (job,))
            continue
        if full_at - at > (burst - 1) * interval:
            text = f"{gate} claimed job {job}, {attempt}, {full_at - at - (burst - 1) * interval:.0f} µs too early"
            yield Violation(Rule.RATE, f"{text} for a token every {interval} µs, burst {burst}", (job,))
        full_at = max(full_at, at) + interval


def _gate(queue: str, task: str | None, value: str | None) -> str:
    if task is None:
        return f"queue {queue!r}"
    return f"task {task!r} of {queue!r}" + (f" for value {value!r}" if value is not None else "")
