"""What the routes do: put a job of an exposed task, look at a job, and wait for one if the caller asks to."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Body, Header, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.params import Depends as Dependency
from uuid_utils import uuid7

from fifoq import Fifoq
from fifoq.errors import IdConflict, JobCancelled, JobFailed, JobNotFound
from fifoq.handle import JobHandle
from fifoq.job import Job
from fifoq.names import MAX_NAME, check_name
from fifoq.queue import Queue
from fifoq.state import State
from fifoq.task import AWAITED, Task
from fifoq_fastapi.access import Access, shown_id, stored_id
from fifoq_fastapi.problems import Kind, respond
from fifoq_fastapi.schemas import job_of

LONGEST_WAIT = 30.0
"""Seconds for which a request waits at most, whatever it asks for."""
UNKNOWN_TASK = Kind(404, "unknown-task", "No such task")

Endpoint = Callable[..., Awaitable[Response]]
Wait = Annotated[
    float | None,
    Query(ge=0, allow_inf_nan=False, description=f"Seconds to wait for the job to end, {LONGEST_WAIT:g} at most."),
]
Id = Annotated[str, PathParameter(max_length=MAX_NAME)]


def enqueue_endpoint(task: Task[..., Any, Any], access: Access) -> Endpoint:
    """Return the route that enqueues `task`, with the parameters of `task` as its body."""
    counter = _Counter(task)

    async def enqueue(
        request: Request, body: Any, owner: str | None, idempotency_key: str | None, wait: float | None
    ) -> Response:
        id = _chosen(idempotency_key) or str(uuid7())
        job, created = await counter.place(body, owner, id, wait)
        if wait is not None and job.state.ended:
            _raise_if_without_result(job, id)
        status = 202 if created and not (wait is not None and job.state.ended) else 200
        return _answer(job, id, status, {"Location": _location(request, task.name, id)})

    model = task.signature.arguments_model()
    _declare(
        enqueue,
        body=(Annotated[model, Body()], _default_of(model)),
        owner=(Annotated[str | None, access.caller("fifoq:write")], inspect.Parameter.empty),
        idempotency_key=(_idempotency_key(access), None),
        wait=(Wait, None),
    )
    return enqueue
