"""Where jobs are handed in and asked for: owners, the ids that they choose, and waiting. It knows no HTTP."""

from contextlib import suppress
from typing import Any, NamedTuple

from uuid_utils import uuid7

from fifoq import Fifoq
from fifoq.errors import IdConflict, InvalidArguments, JobCancelled, JobFailed, JobNotFound, ResultTimeout
from fifoq.handle import JobHandle
from fifoq.job import Job
from fifoq.names import MAX_NAME
from fifoq.task import AWAITED, NewJob, Task
from fifoq_fastapi.access import stored_id

Call = tuple[tuple[Any, ...], dict[str, Any]]


class Placed(NamedTuple):
    """A job that was handed in, as it is now."""

    job: Job
    created: bool
    """False: it was there before, under the id that the caller chose."""


class Counter:
    """The jobs of one Fifoq as the callers of a router see them: by their own ids, and only their own."""

    def __init__(self, tasks: Fifoq) -> None:
        self._tasks = tasks

    async def place(
        self, task: Task[..., Any, Any], call: Call, *, owner: str | None, id: str | None, wait: float
    ) -> Placed:
        """
        Enqueue a call of `task` for `owner`, under the `id` that they chose, and wait up to `wait` seconds for its end.

        Raises what `task.enqueue` does; an id that is in use for another task or other arguments is an IdConflict.
        """
        args, kwargs = call
        stored = stored_id(owner, id or str(uuid7()))
        chosen = task.options(id=stored) if owner is None else task.options(id=stored, owner=owner)
        new = chosen.bind(*args, **kwargs)
        try:
            if id is not None:
                await self._refuse_in_other_queues(task.queue, stored)
            handle = await _put(new)
        except IdConflict as error:
            shown = id or error.id
            raise IdConflict(
                f"The id {shown!r} is taken by a job with another task or other arguments.", id=shown
            ) from error
        return Placed(await _look(handle, wait), handle.created)

    async def find(self, id: str, *, owner: str | None, wait: float) -> Job:
        """
        Return the job that `owner` knows as `id`, once it has ended or `wait` seconds have passed.

        A job of a task that is not registered here is returned at once. Raises JobNotFound, also for a job of somebody
        else's.
        """
        # The second candidate: the app itself may enqueue for an owner, and chooses other ids than the routes do.
        for candidate in (stored_id(owner, id), id):
            with suppress(JobNotFound):
                job = await self._get(candidate)
                if owner is None or job.owner == owner:
                    task = self._tasks.tasks.get(job.task)
                    return job if task is None or job.state.ended else await _look(task.handle(job.id), wait)
        raise JobNotFound(id)

    async def _get(self, id: str) -> Job:
        if len(id) > MAX_NAME:
            raise JobNotFound(id)
        return await self._tasks.get(id)

    async def _refuse_in_other_queues(self, queue: str, id: str) -> None:
        """A queue knows the ids of its own jobs only, but callers know nothing of queues."""
        for other in self._tasks.queues:
            if other != queue:
                with suppress(JobNotFound):
                    await self._tasks.get(id, queue=other)
                    raise IdConflict(f"The id {id!r} is taken by a job in queue {other!r}.", id=id)


async def _put(new: NewJob[Any]) -> JobHandle[Any]:
    """Enqueue, and have the job kept until the answer has been made, even if its task says `retain=0`."""
    spec = new.spec()
    intake = new.origin.connection.intake(new.origin.queue)
    (receipt,) = await intake.put((spec._replace(retain=max(spec.retain, AWAITED)),))
    return JobHandle(new.origin, receipt.id, receipt.created)


async def _look(handle: JobHandle[Any], wait: float) -> Job:
    if wait > 0:
        # How it ended is in the job; a result that no longer fits its type is shown as it is stored.
        with suppress(JobFailed, JobCancelled, ResultTimeout, InvalidArguments):
            await handle.result(wait)
    return await handle.status()
