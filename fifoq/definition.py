"""A task as a worker sees it: the function, how its arguments travel, and what to do when it goes wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from fifoq.retry import Retry
from fifoq.signature import Signature

RESULTS_KEPT = 3_600.0
"""Seconds for which a job is kept after it succeeded or was cancelled, by default."""
FAILURES_KEPT = 604_800.0
"""Seconds for which a job is kept after it failed, by default."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What is fixed about a task when it is registered. Times are in seconds."""

    name: str
    queue: str
    function: Callable[..., Any]
    signature: Signature
    retry: Retry = field(default_factory=Retry)
    timeout: float | None = None
    max_crashes: int = 3
    halt: bool = False
    """A job that fails keeps its key closed (`after_failure="halt"`)."""
    retain: float | None = None
    """Seconds for which an ended job is kept; None: RESULTS_KEPT, or FAILURES_KEPT if it failed."""
    run_in: Literal["loop", "thread", "process"] = "loop"
    """Where it runs: `auto` is resolved at registration, by whether the function is async."""
    takes_context: bool = False
    promise: str = ""
    """What the worker's banner says of its order: "in order per match_id", "in order, one line", "oldest first"."""
