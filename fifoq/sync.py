"""The forms of a Fifoq's calls for threads. Each hops to the loop that opened it, or to one in a thread of its own."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar, Unpack

from fifoq.batch import put_batch
from fifoq.handle import JobHandle
from fifoq.job import Job
from fifoq.operations import JobFilter, JobId, Operations
from fifoq.pages import KeyPage, Page, QueueStats
from fifoq.queue import MAX_PAGE
from fifoq.task import NewJob

R = TypeVar("R")


class SyncOperations(Operations):
    """
    For `def` routes, sync tasks and scripts. They block, so on the thread of the loop itself they raise.

    Without an opening, the first one opens this Fifoq in a thread of its own, until it is opened elsewhere.
    """

    def run_sync(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """
        Run `work()` where this Fifoq is open, and return what it returns: for what has no form of its own here.

            tasks.run_sync(lambda: tasks.worker().drain())
        """
        return self._link.run(work)

    def enqueue_many_sync(self, jobs: Sequence[NewJob[R]]) -> list[JobHandle[R]]:
        """As `enqueue_many`."""
        return self._link.run(lambda: put_batch(self._link, jobs))

    def get_sync(self, id: JobId, *, queue: str | None = None) -> Job:
        """As `get`."""
        return self._link.run(lambda: self.get(id, queue=queue))

    def get_many_sync(self, ids: Sequence[JobId], *, queue: str) -> list[Job | None]:
        """As `get_many`."""
        return self._link.run(lambda: self.get_many(ids, queue=queue))

    def finished_sync(self, id: JobId, *, queue: str | None = None, timeout: float | None = None) -> Job | None:
        """As `finished`."""
        return self._link.run(lambda: self.finished(id, queue=queue, timeout=timeout))

    def find_sync(self, *, cursor: str | None = None, limit: int = 100, **filter: Unpack[JobFilter]) -> Page:
        """As `find`."""
        return self._link.run(lambda: self.find(cursor=cursor, limit=limit, **filter))

    def jobs_sync(self, **filter: Unpack[JobFilter]) -> Iterator[Job]:
        """As `jobs`."""
        page = self.find_sync(limit=MAX_PAGE, **filter)
        yield from page.jobs
        while page.cursor is not None:
            page = self.find_sync(cursor=page.cursor, limit=MAX_PAGE, **filter)
            yield from page.jobs

    def cancel_sync(self, id: JobId, *, queue: str | None = None, reason: str = "cancelled by an operator") -> bool:
        """As `cancel`."""
        return self._link.run(lambda: self.cancel(id, queue=queue, reason=reason))

    def requeue_sync(self, id: JobId, *, queue: str | None = None) -> bool:
        """As `requeue`."""
        return self._link.run(lambda: self.requeue(id, queue=queue))

    def skip_sync(self, id: JobId, *, queue: str | None = None) -> bool:
        """As `skip`."""
        return self._link.run(lambda: self.skip(id, queue=queue))

    def pause_sync(self, queue: str, *, task: str | None = None, key: str | None = None) -> None:
        """As `pause`."""
        self._link.run(lambda: self.pause(queue, task=task, key=key))

    def resume_sync(self, queue: str, *, task: str | None = None, key: str | None = None) -> None:
        """As `resume`."""
        self._link.run(lambda: self.resume(queue, task=task, key=key))

    def stats_sync(self) -> dict[str, QueueStats]:
        """As `stats`."""
        return self._link.run(self.stats)

    def blocked_keys_sync(self, *, queue: str | None = None, cursor: str | None = None, limit: int = 100) -> KeyPage:
        """As `blocked_keys`."""
        return self._link.run(lambda: self.blocked_keys(queue=queue, cursor=cursor, limit=limit))
