"""What the routes of jobs do: show one or a page of them, follow one, cancel, requeue, skip."""

from typing import Unpack

from fastapi import Request, Response
from pydantic import BaseModel

from fifoq import Fifoq
from fifoq.job import Job
from fifoq.operations import JobFilter
from fifoq.state import State
from fifoq_fastapi import schemas
from fifoq_fastapi.access import Access, shown_id
from fifoq_fastapi.counter import Counter, Patience
from fifoq_fastapi.events import EventStream, Streams, Subject, event_id
from fifoq_fastapi.lifespan import running
from fifoq_fastapi.parameters import (
    CURSOR,
    ID,
    LAST_EVENT_ID,
    LIMIT,
    LONGEST_WAIT,
    REQUEST,
    STATE,
    WAIT,
    Endpoint,
    declared,
    name_filter,
    owner_of,
)
from fifoq_fastapi.problems import Kind, respond
from fifoq_fastapi.schemas import job_of

NOT_FAILED = Kind(409, "not-failed", "The job is not failed")
HOLDS_NO_KEY = Kind(409, "holds-no-key", "The job holds no key")


class JobRoutes:
    """The endpoints of jobs, as those see them who may call."""

    def __init__(self, counter: Counter, access: Access, streams: Streams) -> None:
        self._counter = counter
        self._tasks = counter.tasks
        self._streams = streams
        self._reads = owner_of(access, "fifoq:read")
        self._writes = owner_of(access, "fifoq:write")

    def page(self) -> Endpoint:
        """Jobs in order of entry, by filters."""

        async def list_jobs(cursor: str | None, limit: int, **filter: Unpack[JobFilter]) -> Response:
            owner = filter.get("owner")
            page = await self._counter.page(cursor, limit, filter)
            jobs = [job_of(job, shown_id(owner, job.id)) for job in page.jobs]
            return as_json(schemas.JobPage(jobs=jobs, cursor=page.cursor))

        return declared(
            list_jobs,
            owner=self._reads,
            state=STATE,
            queue=name_filter("Only jobs of this queue."),
            task=name_filter("Only jobs of this task."),
            key=name_filter("Only jobs with this ordering key."),
            cursor=CURSOR,
            limit=LIMIT,
        )

    def one(self) -> Endpoint:
        """One job, at once or when it has ended."""

        async def get_job(request: Request, id: str, owner: str | None, wait: float) -> Response:
            job = await self._counter.find(id, owner=owner, patience=patience(request, self._tasks, wait))
            return answer(job, owner)

        return declared(get_job, request=REQUEST, id=ID, owner=self._reads, wait=WAIT)

    def events(self) -> Endpoint:
        """One job's state and progress, as they change."""

        async def follow_job(request: Request, id: str, owner: str | None, last_event_id: str | None) -> Response:
            job = await self._counter.find(id, owner=owner)
            if job.state.ended and last_event_id == event_id(job):
                return Response(status_code=204)  # which tells an EventSource not to come back
            held = running(request, self._tasks)
            ending = None if held is None else held.ending
            return EventStream(self._streams, Subject(job, shown_id(owner, job.id), last_event_id, ending))

        return declared(follow_job, request=REQUEST, id=ID, owner=self._reads, last_event_id=LAST_EVENT_ID)

    def cancel(self) -> Endpoint:
        """Cancel a job, or ask for it if it runs."""

        async def cancel_job(id: str, owner: str | None) -> Response:
            job = await self._counter.cancel(id, owner=owner)
            if job is None:
                return Response(status_code=204)
            return answer(job, owner, 202 if job.state is State.RUNNING else 200)

        return declared(cancel_job, id=ID, owner=self._writes)

    def requeue(self) -> Endpoint:
        """Put a failed job back."""

        async def requeue_job(id: str, owner: str | None) -> Response:
            job, changed = await self._counter.requeue(id, owner=owner)
            if not changed:
                return respond(NOT_FAILED, f"Job {id!r} is {job.state}: only a failed job can be requeued.")
            return answer(job, owner)

        return declared(requeue_job, id=ID, owner=self._writes)

    def skip(self) -> Endpoint:
        """Let the key of a halted job go on without it."""

        async def skip_job(id: str, owner: str | None) -> Response:
            job, changed = await self._counter.skip(id, owner=owner)
            if not changed:
                return respond(HOLDS_NO_KEY, f"Job {id!r} does not keep its key closed: there is nothing to skip.")
            return answer(job, owner)

        return declared(skip_job, id=ID, owner=self._writes)


def patience(request: Request, tasks: Fifoq, wait: float) -> Patience:
    """Return how long a request waits that asked for `wait` seconds."""
    held = running(request, tasks) if wait else None
    return Patience(min(wait, LONGEST_WAIT), None if held is None else held.ending)


def answer(job: Job, owner: str | None, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a job as `owner` sees it."""
    return as_json(job_of(job, shown_id(owner, job.id)), status, headers)


def as_json(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a model as the answer. Made by pydantic, and not checked again by FastAPI."""
    return Response(model.model_dump_json(), status, headers, "application/json")
