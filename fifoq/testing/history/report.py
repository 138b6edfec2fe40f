"""What a history proves, in sentences."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

_SHOWN = 20


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


@dataclass(frozen=True, slots=True)
class Report:
    """What a history proves. `print(report)` says it in sentences."""

    violations: tuple[Violation, ...]
    jobs: int
    """Jobs that were acknowledged, or are there although nobody knows."""
    attempts: int
    in_doubt: int
    """Attempts whose lease a planted fault may have cut: as much may have been done again."""

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
