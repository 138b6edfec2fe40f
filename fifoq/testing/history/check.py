"""All rules over one history."""

from collections.abc import Iterable

from fifoq.testing.history import fate, fences, gates, order
from fifoq.testing.history.events import Event
from fifoq.testing.history.gates import Bounds
from fifoq.testing.history.report import Report
from fifoq.testing.history.trace import Traces


def check(events: Iterable[Event], bounds: Bounds | None = None) -> Report:
    """
    Find every broken promise in a history, in O(n log n).

    `events` come in any order, of any number of processes. `bounds` are the limits and rates that were in force all
    the time, as `GateSettings` by queue and task: `{("stats", None): GateSettings.of(limit=50)}`.
    """
    traces = Traces(events)
    attempts = traces.attempts()
    bounds = bounds or {}
    found = (
        *fate.lost(traces),
        *fate.unexpected(traces),
        *fate.stuck(traces),
        *fate.duplicated(traces),
        *fate.settled(traces),
        *fate.taken_early(traces),
        *order.order(traces),
        *order.entry(traces),
        *order.overlap(traces),
        *gates.limits(traces, bounds),
        *gates.rates(traces, bounds),
        *fences.fences(traces),
    )
    jobs = sum(trace.acknowledged or bool(trace.attempts) or trace.final is not None for trace in traces.jobs.values())
    return Report(found, jobs, len(attempts), sum(attempt.in_doubt for attempt in attempts))
