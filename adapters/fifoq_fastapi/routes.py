"""The endpoints of the routes: for enqueueing, for jobs, for queues and keys, and for health checks."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import Parameter, Signature
from typing import Annotated, Any, Unpack
from urllib.parse import quote

from fastapi import Body, Header, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel

from fifoq import Fifoq, Job, Page, State, Task
from fifoq.errors import BackendUnavailable, InvalidArguments, JobCancelled, JobFailed
from fifoq.jsonable import readable
from fifoq.names import MAX_NAME, check_name
from fifoq.operations import JobFilter
from fifoq_fastapi.access import AccessRules, Scope, shown_id
from fifoq_fastapi.events import EventStream, Streams, StreamTarget, event_id
from fifoq_fastapi.lifecycle import open_app
from fifoq_fastapi.problems import ProblemType, problem_response
from fifoq_fastapi.rendering import JobJson, job_json, jobs_json, keys_json, queues_json
from fifoq_fastapi.schemas import FifoqState
from fifoq_fastapi.service import JobService, WaitLimit
from fifoq_fastapi.validation import bounded_body

LONGEST_WAIT = 30.0
"""Seconds that a request waits at most, also with a larger `?wait=`."""
LONGEST_PAGE = 100
"""The most jobs of a page."""
LARGEST_PAGE = 180_000
"""The most bytes of JSON of the jobs of a page, if it has more than one."""
LARGEST_READ = 1024 * 1024
"""The stored bytes behind which a page ends: values may take much to read that is then shown in a reduced form."""
EVENTS = "/events"
"""The end of the path of a job's stream, after the id. Ids that callers choose must not end with it."""

UNKNOWN_TASK = ProblemType(404, "unknown-task", "No such task")
NOT_FAILED = ProblemType(409, "not-failed", "The job is not failed")
HOLDS_NO_KEY = ProblemType(409, "holds-no-key", "The job holds no key")

Endpoint = Callable[..., Awaitable[Response]]
Declaration = tuple[Any, Any]
"""The annotation and the default of one parameter of an endpoint."""

# ---- parameters ----

REQUEST: Declaration = (Request, Parameter.empty)
ID: Declaration = (Annotated[str, InPath(description="The job's id.")], Parameter.empty)
QUEUE_NAME: Declaration = (
    Annotated[str, InPath(description="The queue's name.")],
    Parameter.empty,
)
WAIT: Declaration = (
    Annotated[
        float, Query(ge=0, allow_inf_nan=False, description=f"Seconds to wait for its end, {LONGEST_WAIT:g} at most.")
    ],
    0.0,
)
LIMIT: Declaration = (
    Annotated[int, Query(ge=1, le=LONGEST_PAGE, description="How many to show. A page may be shorter.")],
    50,
)
CURSOR: Declaration = (
    Annotated[str | None, Query(min_length=1, max_length=4096, description="Where the page before this one ended.")],
    None,
)
STATE: Declaration = (Annotated[FifoqState | None, Query(description="Only jobs in this state.")], None)
LAST_EVENT_ID: Declaration = (
    Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            max_length=128,
            description="The id of the last event that was seen. What it showed is not sent again.",
        ),
    ],
    None,
)


def name_filter(description: str) -> Declaration:
    """Return a query parameter that is the name of a queue, a task or a key."""
    return Annotated[str | None, Query(min_length=1, max_length=MAX_NAME, description=description)], None


def owner_of(access: AccessRules, scope: Scope) -> Declaration:
    """Return the parameter with the caller's owner. Its dependency guards the route: it refuses other callers."""
    return Annotated[str | None, access.caller(scope)], Parameter.empty


def idempotency_key(access: AccessRules) -> Declaration:
    """Return the header with the id that the caller chooses for the job."""
    header = Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=access.longest_id,
        description="The job's id. A repeat with the same id enqueues nothing, and answers 200 with the same job.",
    )
    return Annotated[str | None, header], None


def with_parameters(endpoint: Endpoint, **parameters: Declaration) -> Endpoint:
    """
    Give `endpoint` the parameters that FastAPI reads, and return it.

    They cannot be its annotations, as they depend on the task and on the router's access rules.
    """
    vars(endpoint)["__signature__"] = Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            for name, (annotation, default) in parameters.items()
        ]
    )
    return endpoint


# ---- jobs ----


class JobRoutes:
    """The endpoints of jobs. A caller sees the jobs of its owner only."""

    def __init__(self, service: JobService, access: AccessRules, streams: Streams) -> None:
        self._service = service
        self._tasks = service.tasks
        self._streams = streams
        self._json = json_of(access)
        self._reads = owner_of(access, "fifoq:read")
        self._writes = owner_of(access, "fifoq:write")

    def list_jobs(self) -> Endpoint:
        """Return the endpoint of a page of jobs in order of entry, by filters."""

        async def list_jobs(cursor: str | None, limit: int, **filter: Unpack[JobFilter]) -> Response:
            owner = filter.get("owner")
            page, jobs = await self._shown(await self._service.find(cursor, limit, filter), owner)
            return json_response(jobs_json(jobs, self._service.shown_cursor(page, owner)))

        return with_parameters(
            list_jobs,
            owner=self._reads,
            state=STATE,
            queue=name_filter("Only jobs of this queue."),
            task=name_filter("Only jobs of this task."),
            key=name_filter("Only jobs with this ordering key."),
            cursor=CURSOR,
            limit=LIMIT,
        )

    async def _shown(self, page: Page, owner: str | None) -> tuple[Page, list[str]]:
        """Return the JSON of the jobs of a page, and the page that ends with the last one within the limits."""
        jobs: list[str] = []
        shown = stored = 0
        for job in page.jobs:
            text = self._json(job, shown_id(owner, job.id))
            shown += len(text.encode())
            if jobs and shown > LARGEST_PAGE:
                break
            jobs.append(text)
            stored += job.stored_bytes
            if stored > LARGEST_READ:
                break
            await asyncio.sleep(0)  # large values take milliseconds, and other requests must not wait for a whole page
        return page.first(len(jobs)), jobs

    def get_job(self) -> Endpoint:
        """Return the endpoint of one job, at once or when it has ended."""

        async def get_job(request: Request, id: str, owner: str | None, wait: float) -> Response:
            job = await self._service.get(id, owner=owner, wait=wait_limit(request, self._tasks, wait))
            return job_response(self._json, job, owner)

        return with_parameters(get_job, request=REQUEST, id=ID, owner=self._reads, wait=WAIT)

    def follow_job(self) -> Endpoint:
        """Return the endpoint of the stream of a job's state and progress."""

        async def follow_job(request: Request, id: str, owner: str | None, last_event_id: str | None) -> Response:
            job = await self._service.get(id, owner=owner)
            if job.state.ended and last_event_id == event_id(job):
                return Response(status_code=204)  # an EventSource then does not reconnect
            app = open_app(request, self._tasks)
            shutdown = None if app is None else app.shutdown

            def shown(seen: Job) -> str:
                return self._json(seen, shown_id(owner, seen.id))

            return EventStream(self._streams, StreamTarget(job, shown, last_event_id, shutdown, owner))

        return with_parameters(follow_job, request=REQUEST, id=ID, owner=self._reads, last_event_id=LAST_EVENT_ID)

    def cancel_job(self) -> Endpoint:
        """Return the endpoint that cancels a job; a running job is requested to stop."""

        async def cancel_job(id: str, owner: str | None) -> Response:
            job = await self._service.cancel(id, owner=owner)
            if job is None:
                return Response(status_code=204)
            return job_response(self._json, job, owner, 202 if job.state is State.RUNNING else 200)

        return with_parameters(cancel_job, id=ID, owner=self._writes)

    def requeue_job(self) -> Endpoint:
        """Return the endpoint that requeues a failed job."""

        async def requeue_job(id: str, owner: str | None) -> Response:
            job, changed = await self._service.requeue(id, owner=owner)
            if not changed:
                return problem_response(NOT_FAILED, f"Job {id!r} is {job.state}: only a failed job can be requeued.")
            return job_response(self._json, job, owner)

        return with_parameters(requeue_job, id=ID, owner=self._writes)

    def skip_job(self) -> Endpoint:
        """Return the endpoint that lets the key of a halted job go on without it."""

        async def skip_job(id: str, owner: str | None) -> Response:
            job, changed = await self._service.skip(id, owner=owner)
            if not changed:
                return problem_response(
                    HOLDS_NO_KEY, f"Job {id!r} does not keep its key closed: there is nothing to skip."
                )
            return job_response(self._json, job, owner)

        return with_parameters(skip_job, id=ID, owner=self._writes)


def wait_limit(request: Request, tasks: Fifoq, wait: float) -> WaitLimit:
    """Return the limit of a request with `?wait=`."""
    app = open_app(request, tasks) if wait else None
    return WaitLimit(min(wait, LONGEST_WAIT), None if app is None else app.shutdown)


def json_of(access: AccessRules) -> JobJson:
    """Return the function that makes the JSON of a job for callers of the router. Operators see tracebacks."""
    return partial(job_json, traceback=access.for_operators)


def job_response(
    json: JobJson, job: Job, owner: str | None, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return the response that shows a job to `owner`."""
    return json_response(json(job, shown_id(owner, job.id)), status, headers)


def json_response(text: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return the response with a JSON text."""
    return Response(text, status, headers, "application/json")


# ---- enqueueing ----


def enqueue_endpoint(service: JobService, task: Task[..., Any, Any], access: AccessRules) -> Endpoint:
    """Return the endpoint that enqueues `task`; its body has the parameters of `task`."""
    signature = task.signature
    model = signature.arguments_model()
    json = json_of(access)

    async def enqueue(
        request: Request, body: BaseModel, owner: str | None, idempotency_key: str | None, wait: float
    ) -> Response:
        limit = wait_limit(request, service.tasks, wait)
        id = None if idempotency_key is None else _checked_key(idempotency_key)
        job, created = await service.enqueue(task, signature.call_of(body), owner=owner, id=id, wait=limit)
        shown = shown_id(owner, job.id)
        ended_in_time = limit.seconds > 0 and job.state.ended
        if ended_in_time:
            _raise_unless_succeeded(job, shown)
        status = 202 if created and not ended_in_time else 200
        return job_response(json, job, owner, status, {"Location": _location(request, f"/tasks/{task.name}", shown)})

    return with_parameters(
        enqueue,
        request=REQUEST,
        body=(Annotated[bounded_body(model), Body()], _default_body(model)),
        owner=owner_of(access, "fifoq:write"),
        idempotency_key=idempotency_key(access),
        wait=WAIT,
    )


def unknown_task_endpoint(access: AccessRules) -> Endpoint:
    """Return the endpoint for names without a task, which answers 404. Its route comes after those of all tasks."""

    async def unknown_task(name: str, owner: str | None) -> Response:
        return problem_response(UNKNOWN_TASK, f"There is no task {name!r} here, or it may not be enqueued over HTTP.")

    return with_parameters(unknown_task, name=(str, Parameter.empty), owner=owner_of(access, "fifoq:write"))


def _checked_key(key: str) -> str:
    if key.endswith(EVENTS):
        raise InvalidArguments(
            f"An Idempotency-Key does not end in {EVENTS!r}: the job's path could not be told from its stream's.",
            parameter="Idempotency-Key",
        )
    return check_name("Idempotency-Key", key)


def _default_body(model: type[BaseModel]) -> Any:
    """Return the default of the body: an empty model if every parameter of the task has a default, else none."""
    required = any(field.is_required() for field in model.model_fields.values())
    return Parameter.empty if required else model()


def _raise_unless_succeeded(job: Job, id: str) -> None:
    if job.state is State.FAILED:
        error = readable(lambda: job.error, None)
        raise JobFailed(id, job.task, type=error.type if error else "unknown", error=error.message if error else "")
    if job.state is State.CANCELLED:
        raise JobCancelled(id, job.task, reason=job.reason or "no reason given")


def _location(request: Request, task_path: str, id: str) -> str:
    """Return the job's path, derived from the request's: a router may be included, and its app mounted, anywhere."""
    path, root = request.scope["path"], request.scope.get("root_path", "").rstrip("/")
    # A mounted app receives the whole path; behind a proxy that strips a prefix, only `root_path` has that prefix.
    prefix = (path if path.startswith(f"{root}/") else root + path).removesuffix(task_path)
    return f"{quote(prefix)}/jobs/{quote(id, safe='')}"


# ---- queues and keys ----


class QueueRoutes:
    """The endpoints of queues and keys. Queues belong to no owner: a router with owners has `blocked_keys` only."""

    def __init__(self, service: JobService, access: AccessRules) -> None:
        self._service = service
        self._tasks = service.tasks
        self._reads = owner_of(access, "fifoq:read")
        self._writes = owner_of(access, "fifoq:write")

    def list_queues(self) -> Endpoint:
        """Return the endpoint of all queues, with the counts of their jobs."""

        async def list_queues(owner: str | None) -> Response:
            stats = await self._tasks.stats(declared=self._service.declared)
            return json_response(queues_json(stats))

        return with_parameters(list_queues, owner=self._reads)

    def pause_queue(self) -> Endpoint:
        """Return the endpoint that pauses a queue, a task or a key."""
        return self._pause_or_resume(self._tasks.pause)

    def resume_queue(self) -> Endpoint:
        """Return the endpoint that lifts a pause."""
        return self._pause_or_resume(self._tasks.resume)

    def _pause_or_resume(self, pause_or_resume: Callable[..., Awaitable[None]]) -> Endpoint:
        async def pause_or_resume_queue(name: str, owner: str | None, **part: Any) -> Response:
            await self._service.check_queue(name)
            await pause_or_resume(name, **part)
            return Response(status_code=204)

        return with_parameters(
            pause_or_resume_queue,
            name=QUEUE_NAME,
            owner=self._writes,
            task=name_filter("Only this task of the queue."),
            key=name_filter("Only this ordering key of the queue."),
        )

    def list_blocked_keys(self) -> Endpoint:
        """Return the endpoint of the keys that are halted, paused or backing off."""

        async def list_blocked_keys(owner: str | None, queue: str | None, cursor: str | None, limit: int) -> Response:
            page = await self._service.blocked_keys(queue, cursor, limit, owner)
            return json_response(keys_json(page, [key.job_id and shown_id(owner, key.job_id) for key in page.keys]))

        return with_parameters(
            list_blocked_keys, owner=self._reads, queue=name_filter("Only of this queue."), cursor=CURSOR, limit=LIMIT
        )


# ---- health ----


async def health() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "alive"}


def ready_endpoint(tasks: Fifoq) -> Callable[[Request], Awaitable[dict[str, str]]]:
    """Return the endpoint that answers 503 when `tasks` cannot be used."""

    async def ready(request: Request) -> dict[str, str]:
        app = open_app(request, tasks)
        if not tasks.is_open:
            raise BackendUnavailable("The Fifoq is not open.")
        await tasks.check()
        if app is not None and app.worker is not None and not app.worker.ready:
            raise BackendUnavailable("The embedded worker does not claim.")
        return {"status": "ready"}

    return ready
