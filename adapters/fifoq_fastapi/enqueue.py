"""What `POST /tasks/{name}` does: a call as a JSON body, the job as the answer."""

from inspect import Parameter
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Body, Request, Response
from pydantic import BaseModel

from fifoq.errors import InvalidArguments, JobCancelled, JobFailed
from fifoq.job import Job
from fifoq.names import check_name
from fifoq.state import State
from fifoq.task import Task
from fifoq_fastapi.access import Access, shown_id
from fifoq_fastapi.counter import Counter
from fifoq_fastapi.jobs import answer, patience
from fifoq_fastapi.parameters import EVENTS, REQUEST, WAIT, Endpoint, declared, idempotency_key, owner_of
from fifoq_fastapi.problems import Kind, respond

UNKNOWN_TASK = Kind(404, "unknown-task", "No such task")


def enqueue_endpoint(counter: Counter, task: Task[..., Any, Any], access: Access) -> Endpoint:
    """Return the route that enqueues `task`; its body is the parameters of `task`."""
    signature = task.signature
    model = signature.arguments_model()

    async def enqueue(
        request: Request, body: BaseModel, owner: str | None, idempotency_key: str | None, wait: float
    ) -> Response:
        waits = patience(request, counter.tasks, wait)
        id = None if idempotency_key is None else _checked(idempotency_key)
        job, created = await counter.place(task, signature.call_of(body), owner=owner, id=id, patience=waits)
        shown = shown_id(owner, job.id)
        ended_in_time = waits.seconds > 0 and job.state.ended
        if ended_in_time:
            _raise_unless_succeeded(job, shown)
        status = 202 if created and not ended_in_time else 200
        return answer(job, owner, status, {"Location": _location(request, f"/tasks/{task.name}", shown)})

    return declared(
        enqueue,
        request=REQUEST,
        body=(Annotated[model, Body()], _empty(model)),
        owner=owner_of(access, "fifoq:write"),
        idempotency_key=idempotency_key(access),
        wait=WAIT,
    )


def unknown_task_endpoint(access: Access) -> Endpoint:
    """Return the route behind all tasks: whatever comes here is none."""

    async def unknown_task(name: str, owner: str | None) -> Response:
        return respond(UNKNOWN_TASK, f"There is no task {name!r} here, or it may not be enqueued over HTTP.")

    return declared(unknown_task, name=(str, Parameter.empty), owner=owner_of(access, "fifoq:write"))


def _checked(key: str) -> str:
    if key.endswith(EVENTS):
        raise InvalidArguments(
            f"An Idempotency-Key does not end in {EVENTS!r}: the job's path could not be told from its stream's.",
            parameter="Idempotency-Key",
        )
    return check_name("Idempotency-Key", key)


def _empty(model: type[BaseModel]) -> Any:
    """What stands for a missing body: nothing at all, unless every argument has a default."""
    required = any(field.is_required() for field in model.model_fields.values())
    return Parameter.empty if required else model()


def _raise_unless_succeeded(job: Job, id: str) -> None:
    if job.state is State.FAILED:
        error = job.error
        raise JobFailed(id, job.task, type=error.type if error else "unknown", error=error.message if error else "")
    if job.state is State.CANCELLED:
        raise JobCancelled(id, job.task, reason=job.reason or "no reason given")


def _location(request: Request, path: str, id: str) -> str:
    """The job's path, beside the one that was asked for: wherever the router was included, or its app mounted."""
    asked, root = request.scope["path"], request.scope.get("root_path", "").rstrip("/")
    # A mounted app is asked by its whole path; behind a proxy that strips a prefix, only `root_path` knows that one.
    prefix = (asked if asked.startswith(f"{root}/") else root + asked).removesuffix(path)
    return f"{quote(prefix)}/jobs/{quote(id, safe='')}"
