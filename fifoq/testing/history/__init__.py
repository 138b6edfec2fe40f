"""
The history checker: it checks a real run by the events that its processes have logged.

Producers, tasks and workers write events into a log each; `check` reads them all and reports every broken promise: lost
and duplicated jobs, wrong order or overlap within a key, limits and rates exceeded, stale fences, stuck jobs.

    log = FileLog(directory)                  # one per process; MemoryLog() for a run within one process

    with attempt(log, ctx) as effect: ...     # in the tasks; Producer(log).enqueue(…) around what enqueues them

    report = check(read_logs(directory), {("stats", None): GateSettings.of(limit=50)})
    assert report.ok, report
"""

from fifoq.testing.history.check import Report, check
from fifoq.testing.history.events import (
    Answer,
    Answered,
    Asked,
    Doubted,
    Effect,
    Ended,
    Event,
    FileLog,
    Final,
    How,
    Leased,
    Log,
    MemoryLog,
    Requeued,
    Settled,
    Started,
    read_logs,
    stamp,
)
from fifoq.testing.history.rules import Bounds, Rule, Violation
from fifoq.testing.history.witness import Producer, WatchedBackend, attempt, write_finals

__all__ = [
    "Answer",
    "Answered",
    "Asked",
    "Bounds",
    "Doubted",
    "Effect",
    "Ended",
    "Event",
    "FileLog",
    "Final",
    "How",
    "Leased",
    "Log",
    "MemoryLog",
    "Producer",
    "Report",
    "Requeued",
    "Rule",
    "Settled",
    "Started",
    "Violation",
    "WatchedBackend",
    "attempt",
    "check",
    "read_logs",
    "stamp",
    "write_finals",
]
