"""The line of one key: its live jobs in order of seq, linked through the jobs themselves: one leaves in O(1)."""

from collections.abc import Iterator

from fifoq_memory.job import Job


class Line:
    """
    Whoever stands first holds the key. Jobs only ever join at the end: a new seq is the largest.

    A job that backs off or has halted keeps standing; a line vanishes when nobody stands in it and it is not paused.
    """

    __slots__ = ("blocked_since", "head", "key", "paused_since", "tail")

    def __init__(self, key: str) -> None:
        self.key = key
        self.head: Job | None = None
        self.tail: Job | None = None
        self.paused_since: int | None = None
        self.blocked_since: int | None = None
        """What the index of blocked keys has of it; None: it is not in there."""

    def join(self, job: Job) -> None:
        """Stand at the end."""
        tail = self.tail
        job.line = self
        job.ahead = tail
        if tail is None:
            self.head = job
        else:
            tail.behind = job
        self.tail = job

    def leave(self, job: Job) -> None:
        """Go, from wherever it stands."""
        ahead, behind = job.ahead, job.behind
        if ahead is None:
            self.head = behind
        else:
            ahead.behind = behind
        if behind is None:
            self.tail = ahead
        else:
            behind.ahead = ahead
        job.line = job.ahead = job.behind = None

    def blocked(self) -> tuple[str, int] | None:
        """Why its head may not be claimed, and since when; None if it may, or only a lease or a gate is in the way."""
        head = self.head
        if head is not None and head.halted and head.finished_at is not None:
            return "halted", head.finished_at
        if self.paused_since is not None:
            return "paused", self.paused_since
        if head is not None and head.due_at is not None:
            return "backing off", head.held_since
        return None

    def __iter__(self) -> Iterator[Job]:
        job = self.head
        while job is not None:
            yield job
            job = job.behind
