"""
The service behind the routes: enqueues, reads, awaits and changes the jobs of one owner.

It is independent of HTTP: it takes and returns plain values, and raises the errors of fifoq.
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar, cast

from uuid_utils import uuid7

from fifoq import Fifoq, Job, KeyPage, Page, Task
from fifoq.errors import IdConflict, InvalidArguments, JobNotFound
from fifoq.names import MAX_NAME, check_text
from fifoq.operations import JobFilter, cursor_at
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


REMEMBERED = 3
"""How many jobs a cursor of an owner names."""


class JobService:
    """The jobs of one Fifoq for the callers of a router: each uses its own ids, and sees the jobs of its owner only."""

    def __init__(self, tasks: Fifoq, *, declared: bool = True) -> None:
        self.tasks = tasks
        self.declared = declared
        """Whether pages and counts are of the queues of this Fifoq only. A store may have others, of other apps."""

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
        await self.check_queue(filter.get("queue"))
        owner = filter.get("owner")

        async def look(cursor: str | None, limit: int) -> Page:
            return await self.tasks.find(cursor=cursor, limit=limit, declared=self.declared, **filter)

        if owner is None:
            return await look(cursor, limit)
        return await OwnPages(look, self._queues(filter.get("queue"))).page(
            await self._read_cursor(cursor, owner), limit
        )

    async def blocked_keys(self, queue: str | None, cursor: str | None, limit: int, owner: str | None) -> KeyPage:
        """Return a page of blocked keys; with an owner, those that a job of this owner blocks."""
        await self.check_queue(queue)

        async def look(cursor: str | None, limit: int) -> KeyPage:
            return await self.tasks.blocked_keys(
                queue=queue, cursor=cursor, limit=limit, owner=owner, declared=self.declared
            )

        if owner is None:
            return await look(cursor, limit)
        page = await OwnPages(look, self._queues(queue)).page(None if cursor is None else _opened(cursor)[0], limit)
        return KeyPage(page.keys, page.cursor and _sealed(page.cursor))

    def shown_cursor(self, page: Page, owner: str | None) -> str | None:
        """
        Return the cursor behind a page for `owner`.

        The store's own cursor counts the jobs of all owners. That of an owner is made of ids of the caller's jobs: of
        the last ones, as some may be removed until the next page is asked for.
        """
        if owner is None or page.cursor is None or not page.jobs:
            return page.cursor
        queue = page.jobs[-1].queue
        if not page.cursor.startswith(cursor_at(queue)):
            return _sealed(page.cursor)
        return _sealed(queue, *[job.id for job in page.jobs[-REMEMBERED:]])

    async def _read_cursor(self, cursor: str | None, owner: str) -> str | None:
        if cursor is None:
            return None
        queue, *ids = _opened(cursor)
        if not ids:
            return queue  # the first job of a queue
        await self.check_queue(queue)
        found = await self.tasks.get_many(ids, queue=queue)
        entries = [job.entry for job in found if job is not None and job.owner == owner]
        if not entries:
            raise InvalidArguments(
                "The jobs of the page before this one are no longer kept. Begin again, without 'cursor'.",
                parameter="cursor",
            )
        return cursor_at(queue, max(entries))

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

    async def check_queue(self, name: str | None) -> None:
        """Raise UnknownQueue unless `name` is None or a queue that is shown here."""
        if name is None or name in self.tasks.queues:
            return
        if self.declared or name not in await self.tasks.stats():
            raise UnknownQueue(name)

    def _queues(self, queue: str | None) -> Sequence[str]:
        return self.tasks.queues if queue is None else (queue,)

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


# ---- pages of owners ----

P = TypeVar("P", Page, KeyPage)


class OwnPages(Generic[P]):
    """
    Pages of an owner's items, as if there were no others.

    A store reads a bounded number of items for one page, also those of other owners. Such a page may be short, and its
    cursor would depend on their items. So the look is repeated until it shows something, and a cursor is that of a full
    page, or the beginning of the next queue.
    """

    def __init__(self, look: Callable[[str | None, int], Awaitable[P]], queues: Sequence[str]) -> None:
        self._look = look
        self._queues = queues

    async def page(self, cursor: str | None, limit: int) -> P:
        page = await self._look(cursor, limit)
        while not page and page.cursor is not None:
            cursor = page.cursor
            page = await self._look(cursor, limit)
        if not page or page.cursor is None:
            return page
        if len(page) < limit:
            page = await self._look(cursor, len(page))
        queue = next(iter(page)).queue
        return page if await self._has_more(queue, page.cursor) else replace(page, cursor=self._next(queue))

    async def _has_more(self, queue: str, cursor: str | None) -> bool:
        """Return whether the queue has an item behind the cursor."""
        while cursor is not None and cursor.startswith(cursor_at(queue)):
            ahead = await self._look(cursor, 1)
            for item in ahead:
                return item.queue == queue
            cursor = ahead.cursor
        return False

    def _next(self, queue: str) -> str | None:
        later = self._queues[self._queues.index(queue) + 1 :]
        return cursor_at(later[0]) if later else None


def _sealed(*parts: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


def _opened(cursor: str) -> list[str]:
    """Return the parts of a cursor that `_sealed` made. Raises InvalidArguments."""
    with suppress(ValueError, RecursionError):
        match json.loads(base64.urlsafe_b64decode(cursor)):
            case [str(), *_] as parts if all(isinstance(part, str) for part in cast("list[Any]", parts)):
                return [check_text("cursor", part) for part in cast("list[str]", parts)][: REMEMBERED + 1]
            case _:
                pass
    raise InvalidArguments("'cursor' is none that an earlier page of the same look gave.", parameter="cursor")
