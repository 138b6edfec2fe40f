"""The limits and rates of gates. Queues, tasks and the values of a task's `by` have a gate each."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from fifoq.clock import MAX_SECONDS, SECOND
from fifoq.errors import ConfigurationError

MOST = 10**12
"""The largest count of jobs: of a limit, a capacity, a burst, a concurrency. Every store can hold it."""
COUNT = f"at least 1 and at most {MOST}"
"""The range of all counts, as errors name it."""

_RATE = re.compile(r"(?P<count>\d+(?:\.\d+)?)/(?P<number>\d+(?:\.\d+)?)?(?P<unit>s|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def is_count(value: object) -> bool:
    """Whether it is a number of jobs that a store can hold."""
    return isinstance(value, int) and 1 <= value <= MOST


@dataclass(frozen=True, slots=True)
class Limit:
    """
    At most `width` jobs at a time, over all workers.

    With `by`, the name of an argument or a tuple of names, the limit holds for each of its values:
    `Limit(2, by="tenant")` runs two jobs of each tenant at a time.
    """

    width: int
    by: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not is_count(self.width):
            raise ConfigurationError(
                f"A limit's width is {COUNT}, not {self.width!r}. To stop all jobs, pause; for no limit, leave it out."
            )

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in `by`, none for a limit of the whole queue or task."""
        return (self.by,) if isinstance(self.by, str) else self.by or ()


@dataclass(frozen=True, slots=True)
class Rate:
    """
    At most `burst + count / per · w` starts in any `w` seconds: a token bucket, refilled evenly.

    As text: `"500/s"`, `"10/m"`, `"3/10s"`, each with a burst of 1.
    """

    count: float
    per: float = 1.0
    burst: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.count <= MOST and 0 < self.per <= MAX_SECONDS and is_count(self.burst)):
            raise ConfigurationError(
                f"A rate has a count above zero and up to {MOST}, a time above zero and up to 100 years, and a burst "
                f"of {COUNT}, not {self}."
            )
        if not self.per / self.count * self.burst <= MAX_SECONDS:
            raise ConfigurationError(f"A rate fills its burst within 100 years, and {self} does not.")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `"500/s"`: a count, a slash, and s, m, h or d, with a number before the unit if it is not one."""
        match = _RATE.fullmatch(text)
        if match is None:
            raise ConfigurationError(f'A rate reads like "500/s", "10/m" or "3/10s", not {text!r}.')
        return cls(float(match["count"]), float(match["number"] or 1) * _SECONDS[match["unit"]])

    @property
    def interval(self) -> int:
        """Microseconds between two tokens, rounded up."""
        return max(1, math.ceil(self.per * SECOND / self.count))


class GateSettings(NamedTuple):
    """The settings of a queue's or a task's gate; None sets no bound. A rate is an `interval` and a `burst`."""

    limit: int | None = None
    """Jobs running at a time."""
    value_limit: int | None = None
    """For a task: jobs running at a time for each value of its `by`."""
    capacity: int | None = None
    """Jobs scheduled, waiting or running."""
    interval: int | None = None
    """Microseconds between two tokens of the rate."""
    burst: int = 1

    @classmethod
    def of(
        cls,
        limit: int | Limit | Sequence[Limit] | None = None,
        rate: str | Rate | None = None,
        capacity: int | None = None,
    ) -> Self:
        """Read settings that may be plain numbers and strings: `limit=4`, `rate="100/s"`."""
        limits = read_limits(limit)
        if not (capacity is None or is_count(capacity)):
            raise ConfigurationError(f"A capacity is {COUNT}, not {capacity!r}. For no bound, leave it out.")
        read = Rate.parse(rate) if isinstance(rate, str) else rate
        return cls(
            limit=next((each.width for each in limits if each.by is None), None),
            value_limit=next((each.width for each in limits if each.by is not None), None),
            capacity=capacity,
            interval=read.interval if read else None,
            burst=read.burst if read else 1,
        )


def read_limits(limit: int | Limit | Sequence[Limit] | None) -> tuple[Limit, ...]:
    """Return the limits of a declaration: at most one of the whole task or queue, and one `by` arguments."""
    if limit is None:
        return ()
    limits = tuple(limit) if isinstance(limit, Sequence) else (limit if isinstance(limit, Limit) else Limit(limit),)
    if sum(each.by is None for each in limits) > 1 or sum(each.by is not None for each in limits) > 1:
        raise ConfigurationError(
            f"A task has at most one limit of its own and one `by` arguments, not {list(limits)}. "
            "To limit by two arguments together, write Limit(n, by=('a', 'b'))."
        )
    return limits
