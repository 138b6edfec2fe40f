"""The check of a history: all rules over its events, and a report of the violations."""

from collections.abc import Iterable
from dataclasses import dataclass

from fifoq.testing.history import rules
from fifoq.testing.history.events import Event
from fifoq.testing.history.rules import Bounds, Rule, Violation
from fifoq.testing.history.trace import Traces

_SHOWN = 20
"""The most violations that the text of a report lists."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check. `print(report)` lists the violations in sentences."""

    violations: tuple[Violation, ...]
    jobs: int
    """Jobs that were acknowledged, or that ran or are stored without that."""
    attempts: int
    in_doubt: int
    """Attempts whose lease a planted fault may have cut: the work of each may have been done again."""

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations

    @property
    def rules(self) -> frozenset[Rule]:
        """The promises that were broken."""
        return frozenset(violation.rule for violation in self.violations)

    def __str__(self) -> str:
        head = f"{self.jobs} jobs, {self.attempts} attempts, {self.in_doubt} of them in doubt: "
        head += f"{len(self.violations)} violations" if self.violations else "every promise was kept"
        more = len(self.violations) - _SHOWN
        lines = [head, *(str(violation) for violation in self.violations[:_SHOWN])]
        return "\n".join([*lines, f"… and {more} more"] if more > 0 else lines)


def check(events: Iterable[Event], bounds: Bounds | None = None) -> Report:
    """
    Find every broken promise in a history, in O(n log n).

    `events` may be in any order and of any number of processes. `bounds` are the limits and rates in force during the
    whole run, as `GateSettings` by queue and task: `{("stats", None): GateSettings.of(limit=50)}`.
    """
    traces = Traces(events)
    attempts = traces.attempts()
    bounds = bounds or {}
    found = (
        *rules.lost(traces),
        *rules.unexpected(traces),
        *rules.stuck(traces),
        *rules.duplicated(traces),
        *rules.settled(traces),
        *rules.taken_early(traces),
        *rules.order(traces),
        *rules.entry(traces),
        *rules.overlap(traces),
        *rules.limits(traces, bounds),
        *rules.rates(traces, bounds),
        *rules.fences(traces),
    )
    jobs = sum(trace.acknowledged or bool(trace.attempts) or trace.final is not None for trace in traces.jobs.values())
    return Report(found, jobs, len(attempts), sum(attempt.in_doubt for attempt in attempts))
