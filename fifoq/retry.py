"""The retry policy of a task: whether and when a job that went wrong is tried again. It needs no clock and no queue."""

import random
from dataclasses import dataclass

from fifoq.clock import seconds_of
from fifoq.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Retry:
    """
    Try up to `attempts` times, the first one counted.

    The n-th retry waits `backoff · 2ⁿ⁻¹` seconds, at most `max_delay`; with `jitter`, a random part of that between
    half and all of it. An exception that is not in `on` fails the job at once.
    """

    attempts: int = 3
    backoff: float = 1.0
    max_delay: float = 300.0
    jitter: bool = True
    on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigurationError(f"attempts counts the first one: at least 1, not {self.attempts!r}.")
        for name in ("backoff", "max_delay"):
            try:
                seconds_of(getattr(self, name))
            except ValueError as error:
                raise ConfigurationError(f"{name} {error}") from error

    def delay(self, tries: int) -> float:
        """Return how many seconds to wait after `tries` attempts (1 or more) went wrong."""
        # The exponent is bounded: 2.0 ** 1024 overflows, and max_delay has long won by then.
        full = min(self.backoff * 2.0 ** min(tries - 1, 64), self.max_delay)
        return full * random.uniform(0.5, 1.0) if self.jitter else full
