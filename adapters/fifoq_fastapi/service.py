"""
The service behind the routes: enqueues, reads, awaits and changes the jobs of one owner.

It is independent of HTTP: it takes and returns plain values, and raises the errors of fifoq.
"""

import asyncio
from contextlib import nullcontext, suppress
from typing import Any, NamedTuple

from uuid_utils import uuid7

from fifoq import BlockedKey, Fifoq, Job, KeyPage, Page, Task
from fifoq.errors import IdConflict, JobNotFound
from fifoq.names import MAX_NAME
from fifoq.operations import JobFilter
from fifoq.task.options import TaskOptions
from fifoq_fastapi.access import stored_id
from fifoq_fastapi.lifecycle import ServerShutdown
from fifoq_fastapi.problems import UnknownQueue

Call = tuple[tuple[Any, ...], dict[str, Any]]


class WaitLimit(NamedTuple):
    """The limit of a wait for a job's end: a number of seconds, and the server's shutdown if that begins earlier."""

    seconds: float
    shutdown: ServerShutdown | None = None


class Enqueued(NamedTuple):
    """An enqueued job in its present state."""

    job: Job
    created: bool
    """False if the queue had it before, under the id that the caller chose."""


class Changed(NamedTuple):
    """A job after a caller requeued or skipped it."""

    job: Job
    changed: bool
    """False if the job's state did not allow it; the job is as it was."""


NO_WAIT = WaitLimit(0.0)
MIN_RETENTION = 60.0
"""Seconds that an ended job is kept at least, so that the response can show it."""


class JobService:
    """The jobs of one Fifoq for the callers of a router: each uses its own ids, and sees the jobs of its owner only."""

    def __init__(self, tasks: Fifoq) -> None:
        self.tasks = tasks

    async def enqueue(
        self, task: Task[..., Any, Any], call: Call, *, owner: str | None, id: str | None, wait: WaitLimit = NO_WAIT
    ) -> Enqueued:
        """
        Enqueue a call of `task` for `owner`, under the `id` that the caller chose, and wait for its end.

        Raises the errors of `task.enqueue`; IdConflict if the id is in use for another task or other arguments.
        """
        args, kwargs = call
        stored = stored_id(owner, id or str(uuid7()))
        # The job must be there for the response, even if its task has `retain=0`.
        options = TaskOptions(id=stored, retain=MIN_RETENTION)
        if owner is not None:
            options["owner"] = owner
        new = task.options(**options).bind(*args, **kwargs)
        try:
            if id is not None:
                await self._refuse_in_other_queues(task.queue, stored)
            [handle] = await self.tasks.enqueue_many([new])
        except IdConflict as error:
            shown = id or error.id
            raise IdConflict(
                f"The id {shown!r} is taken by a job with another task or other arguments.", id=shown
            ) from error
        job = await self._wait_for_end(stored, task.queue, wait) or await self.tasks.get(stored, queue=task.queue)
        return Enqueued(job, handle.created)

    async def get(self, id: str, *, owner: str | None, wait: WaitLimit = NO_WAIT) -> Job:
        """
        Return the job with the id `id` for `owner`, once it has ended or `wait` is over.

        Raises JobNotFound, also for the job of another owner.
        """
        # The second candidate: the app itself may enqueue for an owner, with ids of another form than the routes use.
        for candidate in (id,) if owner is None else (stored_id(owner, id), id):
            with suppress(JobNotFound):
                job = await self._get_stored(candidate)
                if owner is None or job.owner == owner:
                    return job if job.state.ended else await self._wait_for_end(job.id, job.queue, wait) or job
        raise JobNotFound(id)

    async def cancel(self, id: str, *, owner: str | None) -> Job | None:
        """Cancel a job and return it afterwards; None if it was not kept. Raises JobNotFound."""
        job = await self.get(id, owner=owner)
        await self.tasks.cancel(job.id, queue=job.queue, reason="cancelled over HTTP")
        (after,) = await self.tasks.get_many([job.id], queue=job.queue)
        return after

    async def requeue(self, id: str, *, owner: str | None) -> Changed:
        """Put a failed job back. Raises JobNotFound, or IdConflict if another job holds its unique text."""
        job = await self.get(id, owner=owner)
        try:
            changed = await self.tasks.requeue(job.id, queue=job.queue)
        except IdConflict as error:
            if owner is None:
                raise
            # The other job may belong to another owner, so its id is not shown.
            raise IdConflict(f"Job {id!r} cannot be requeued: another one now holds its unique text.", id=id) from error
        return Changed(await self.tasks.get(job.id, queue=job.queue), changed)

    async def skip(self, id: str, *, owner: str | None) -> Changed:
        """Let the key of a halted job go on without it. Raises JobNotFound."""
        job = await self.get(id, owner=owner)
        changed = await self.tasks.skip(job.id, queue=job.queue)
        return Changed(await self.tasks.get(job.id, queue=job.queue), changed)

    async def find(self, cursor: str | None, limit: int, filter: JobFilter) -> Page:
        """Return a page of jobs. Raises InvalidArguments or UnknownQueue."""
        self.check_queue(filter.get("queue"))
        return await self.tasks.find(cursor=cursor, limit=limit, **filter)

    async def blocked_keys(self, queue: str | None, cursor: str | None, limit: int, owner: str | None) -> KeyPage:
        """Return a page of blocked keys; with an owner, those that a job of this owner blocks."""
        self.check_queue(queue)
        page = await self.tasks.blocked_keys(queue=queue, cursor=cursor, limit=limit)
        if owner is None:
            return page
        return KeyPage(tuple([key for key in page.keys if await self._blocks(key, owner)]), page.cursor)

    async def _blocks(self, key: BlockedKey, owner: str) -> bool:
        if key.job_id is None:
            return False
        (job,) = await self.tasks.get_many([key.job_id], queue=key.queue)
        return job is not None and job.owner == owner

    async def _wait_for_end(self, id: str, queue: str, wait: WaitLimit) -> Job | None:
        """Return a job once it has ended; None if `wait` is over before."""
        seconds, shutdown = wait
        if seconds <= 0 or (shutdown is not None and shutdown.begun):
            return None
        try:
            async with asyncio.timeout(None) as timeout:
                with nullcontext() if shutdown is None else shutdown.cuts(timeout):
                    return await self.tasks.finished(id, queue=queue, timeout=seconds)
        except TimeoutError:
            return None

    def check_queue(self, name: str | None) -> None:
        """
        Raise UnknownQueue unless `name` is None or a queue of this Fifoq.

        Only the queues of this Fifoq are shown: a store may have others, of other apps.
        """
        if name is not None and name not in self.tasks.queues:
            raise UnknownQueue(name)

    async def _get_stored(self, id: str) -> Job:
        if not 1 <= len(id) <= MAX_NAME:
            raise JobNotFound(id)
        return await self.tasks.get(id)

    async def _refuse_in_other_queues(self, queue: str, id: str) -> None:
        """Raise IdConflict if another queue has a job `id`: ids are unique in a queue, but callers see no queues."""
        for other in self.tasks.queues:
            if other != queue:
                with suppress(JobNotFound):
                    await self.tasks.get(id, queue=other)
                    raise IdConflict(f"The id {id!r} is taken by a job in queue {other!r}.", id=id)
