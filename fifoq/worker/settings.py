"""Settings of a worker: how much it does at a time, how long it waits, and where it works."""

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fifoq.clock import DURATION, MAX_SECONDS
from fifoq.errors import ConfigurationError
from fifoq.limits import COUNT, is_count
from fifoq.queue import Backend
from fifoq.task.definition import TaskDefinition


class Workplace(NamedTuple):
    """The backend, tasks and resources of a worker, from its opening to its close."""

    backend: Backend
    """Open, on the worker's loop."""
    tasks: Mapping[str, Mapping[str, TaskDefinition]]
    """By queue name, by task name: jobs are claimed from each queue in turn, and of these tasks only. They may grow."""
    resources: Any = None
    """The value of `ctx.resources` in tasks."""
    store: str = "a store without a name"
    """The store as the log shows it: its URL, redacted, with the absolute path of a file."""
    connection: object = None
    """Of the Fifoq that its tasks belong to. Only its identity counts."""
    shut_off: bool = False
    """No other process can enqueue in the store, and no other part of this one has opened it."""


def own_name() -> str:
    """Return a name for a worker of this process: host, process id and random digits, so that no restart repeats it."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


@dataclass(frozen=True)
class WorkerSettings:
    """How much one worker does at a time, and how long it waits. Times are in seconds."""

    concurrency: int = 100
    """Jobs at a time, wherever they run."""
    threads: int = 40
    """Of those, at most so many sync ones."""
    lease: float = 15.0
    """How long a lease holds unless it is extended, which happens three times as often."""
    grace: float = 25.0
    """How long a stopping worker waits for its jobs to finish."""
    processes: int | None = None
    """Of the jobs at a time, at most so many of `run_in="process"`; None: as many as there are processors."""
    name: str = field(default_factory=own_name)

    def __post_init__(self) -> None:
        for setting in ("concurrency", "threads", "processes"):
            value = getattr(self, setting)
            if not (is_count(value) or (value is None and setting == "processes")):
                raise ConfigurationError(f"A worker's {setting} is {COUNT}, not {value!r}.")
        if not (0 < self.lease <= MAX_SECONDS and 0 <= self.grace <= MAX_SECONDS):
            raise ConfigurationError(
                f"A worker's lease and grace are {DURATION}, the lease above 0, not {self.lease!r} and {self.grace!r}."
            )

    @property
    def width_of_processes(self) -> int:
        """How many child processes there may be."""
        return self.processes or os.cpu_count() or 1

    @property
    def extend_every(self) -> float:
        """Seconds between two extensions of a lease: one that fails costs no lease."""
        return self.lease / 3

    @property
    def stop_margin(self) -> float:
        """Seconds before the end of a lease at which its job is stopped if the backend does not answer."""
        return self.lease / 10

    @property
    def watch_every(self) -> float:
        """Seconds between two checks of the leases for those that are about to end."""
        return self.lease / 20
