"""What the routes do, as HTTP: the job as JSON, where it is, and which status says what became of it."""

from collections.abc import Awaitable, Callable
from inspect import Parameter, Signature
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Body, Header, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel

from fifoq.errors import JobCancelled, JobFailed
from fifoq.job import Job
from fifoq.names import MAX_NAME, check_name
from fifoq.state import State
from fifoq.task import Task
from fifoq_fastapi.access import Access, shown_id
from fifoq_fastapi.counter import Counter
from fifoq_fastapi.problems import Kind, respond
from fifoq_fastapi.schemas import job_of

LONGEST_WAIT = 30.0
"""Seconds for which a request waits at most, whatever it asks for."""
UNKNOWN_TASK = Kind(404, "unknown-task", "No such task")

Endpoint = Callable[..., Awaitable[Response]]
Wait = Annotated[
    float, Query(ge=0, allow_inf_nan=False, description=f"Seconds to wait for its end, {LONGEST_WAIT:g} at most.")
]


def enqueue_endpoint(counter: Counter, task: Task[..., Any, Any], access: Access) -> Endpoint:
    """Return the route that enqueues `task`; its body is the parameters of `task`."""
    signature = task.signature
    model = signature.arguments_model()

    async def enqueue(
        request: Request, body: BaseModel, owner: str | None, idempotency_key: str | None, wait: float
    ) -> Response:
        id = None if idempotency_key is None else check_name("Idempotency-Key", idempotency_key)
        wait = min(wait, LONGEST_WAIT)
        job, created = await counter.place(task, signature.call_of(body), owner=owner, id=id, wait=wait)
        shown = shown_id(owner, job.id)
        ended_in_time = wait > 0 and job.state.ended
        if ended_in_time:
            _raise_unless_succeeded(job, shown)
        status = 202 if created and not ended_in_time else 200
        return _answer(job, shown, status, {"Location": _location(request, f"/tasks/{task.name}", shown)})

    return _declared(
        enqueue,
        request=(Request, Parameter.empty),
        body=(Annotated[model, Body()], _empty(model)),
        owner=(Annotated[str | None, access.caller("fifoq:write")], Parameter.empty),
        idempotency_key=(_idempotency_key(access), None),
        wait=(Wait, 0.0),
    )


def job_endpoint(counter: Counter, access: Access) -> Endpoint:
    """Return the route that shows one job."""

    async def get_job(id: str, owner: str | None, wait: float) -> Response:
        job = await counter.find(id, owner=owner, wait=min(wait, LONGEST_WAIT))
        return _answer(job, shown_id(owner, job.id), 200)

    return _declared(
        get_job,
        id=(Annotated[str, InPath(max_length=MAX_NAME)], Parameter.empty),
        owner=(Annotated[str | None, access.caller("fifoq:read")], Parameter.empty),
        wait=(Wait, 0.0),
    )


async def unknown_task(name: str) -> Response:
    """Answer to a task that has no route."""
    return respond(UNKNOWN_TASK, f"There is no task {name!r} here.")


def _declared(endpoint: Endpoint, **parameters: tuple[Any, Any]) -> Endpoint:
    """Tell FastAPI the parameters of `endpoint`, each as (annotation, default): they depend on the task and access."""
    vars(endpoint)["__signature__"] = Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            for name, (annotation, default) in parameters.items()
        ]
    )
    return endpoint


def _empty(model: type[BaseModel]) -> Any:
    """What stands for a missing body: nothing at all, unless every argument has a default."""
    required = any(field.is_required() for field in model.model_fields.values())
    return Parameter.empty if required else model()


def _idempotency_key(access: Access) -> Any:
    header = Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=access.longest_id,
        description="The job's id. A repeat with the same id enqueues nothing, and answers 200 with the same job.",
    )
    return Annotated[str | None, header]


def _raise_unless_succeeded(job: Job, id: str) -> None:
    if job.state is State.FAILED:
        error = job.error
        raise JobFailed(id, job.task, type=error.type if error else "unknown", error=error.message if error else "")
    if job.state is State.CANCELLED:
        raise JobCancelled(id, job.task, reason=job.reason or "no reason given")


def _answer(job: Job, id: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(job_of(job, id).model_dump_json(), status, headers, "application/json")


def _location(request: Request, path: str, id: str) -> str:
    """The job's path, beside the one that was asked for: wherever the router was included, or its app mounted."""
    prefix = request.scope["path"].removesuffix(path)
    return f"{quote(prefix)}/jobs/{quote(id, safe='')}"
