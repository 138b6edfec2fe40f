"""What looking at queues returns: pages of jobs and of blocked keys, and counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from fifoq.job import Job


class QueueStats(NamedTuple):
    """The jobs of one queue, counted at one instant."""

    scheduled: int
    waiting: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    oldest_waiting: float | None
    """For how many seconds the first job in line has been there; None if none waits."""


class BlockedKey(NamedTuple):
    """A key whose next job may not begin, for another reason than that one runs."""

    queue: str
    key: str
    job_id: str | None
    """The job that blocks it; None if the key is paused and has no job."""
    reason: str
    """`halted`, `paused` or `backing off`."""
    since: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs of one queue, in order of entry, as they were at one instant."""

    jobs: tuple[Job, ...]
    cursor: str | None
    """What to pass on to see the next page; None at the end."""

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Some blocked keys of one queue, those blocked for longest first."""

    keys: tuple[BlockedKey, ...]
    cursor: str | None
    """What to pass on to see the next page; None at the end."""

    def __iter__(self) -> Iterator[BlockedKey]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)
