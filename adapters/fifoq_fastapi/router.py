"""
The routes of a Fifoq: enqueue, look at a job, and whether the service is up.

Declarations only: the OpenAPI document is made from them. What the routes do is in endpoints.py.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter
from starlette.routing import Match
from starlette.types import Scope

from fifoq import Fifoq
from fifoq.errors import ConfigurationError
from fifoq.task import Task
from fifoq_fastapi import health, schemas
from fifoq_fastapi.access import Access, Authenticate, OwnerOf
from fifoq_fastapi.counter import Counter
from fifoq_fastapi.endpoints import enqueue_endpoint, job_endpoint, unknown_task
from fifoq_fastapi.problems import MEDIA_TYPE
from fifoq_fastapi.route import ProblemRoute

AnyTask = Task[..., Any, Any]


def router(
    tasks: Fifoq,
    *,
    expose: Sequence[AnyTask] | Literal["all"],
    auth: Authenticate | None = None,
    public: bool = False,
    owner: OwnerOf | None = None,
) -> APIRouter:
    """
    Return routes for `app.include_router(…, prefix="/queue")`.

    `expose` lists the tasks that may be enqueued over HTTP; `"all"` includes those registered later. `auth` is a
    dependency, asked with the scope `fifoq:read` or `fifoq:write`; `owner` is given what it returned, and returns the
    text that the caller's jobs are kept under: nobody else sees them. A router for everybody says `public=True`.

    Raises ConfigurationError if it is not said who may call, or if a task of another Fifoq is exposed.
    """
    made = TaskRouter(tasks, expose, Access.of(auth, public, owner))
    made.add_api_route("/health", health.health, **_HEALTH)
    made.add_api_route("/ready", health.ready_endpoint(tasks), **_READY)
    return made


class TaskRouter(APIRouter):
    """
    A router with one route per exposed task, made when routes are first asked for.

    By then the annotations of the tasks can be resolved, and tasks registered after the router was included are there:
    FastAPI keeps included routers as they are, and asks them again when they have changed.
    """

    def __init__(self, tasks: Fifoq, expose: Sequence[AnyTask] | Literal["all"], access: Access) -> None:
        super().__init__(route_class=ProblemRoute, tags=["fifoq"])
        self._tasks, self._access = tasks, access
        self._counter = Counter(tasks)
        self._exposed = None if expose == "all" else _own(tasks, expose)
        self._routed = set[str]()
        self.add_api_route("/jobs/{id:path}", job_endpoint(self._counter, access), **_JOB)
        self.add_api_route("/tasks/{name:path}", unknown_task, methods=["POST"], include_in_schema=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        self._add_new_tasks()
        return super().matches(scope)

    def _get_routes_version(self, seen: set[int] | None = None) -> int:
        # Asked by FastAPI before it makes the OpenAPI document. Should the name change, then a task that was registered
        # late is documented from the first request on, and a test says so.
        self._add_new_tasks()
        return super()._get_routes_version(seen)

    def _add_new_tasks(self) -> None:
        """Add the routes of tasks that have none yet, before the route that knows no task."""
        exposed = self._tasks.tasks.values() if self._exposed is None else self._exposed
        if len(exposed) == len(self._routed):
            return
        for task in [each for each in exposed if each.name not in self._routed]:
            self._routed.add(task.name)
            endpoint = enqueue_endpoint(self._counter, task, self._access)
            self.add_api_route(f"/tasks/{_path(task)}", endpoint, **_enqueue(task))
            route = self.routes.pop()
            assert isinstance(route, ProblemRoute)
            route.max_payload = partial(getattr, task.signature, "limit")
            self.routes.insert(0, route)


def _own(tasks: Fifoq, expose: Iterable[AnyTask]) -> tuple[AnyTask, ...]:
    exposed = tuple(dict.fromkeys(expose))
    for task in exposed:
        name = str(getattr(task, "name", task))
        if tasks.tasks.get(name) is not task:
            raise ConfigurationError(f"router() cannot expose {name!r}: it is no task of the Fifoq it is made for.")
    return exposed


def _path(task: AnyTask) -> str:
    if "{" in task.name:
        raise ConfigurationError(
            f"Task {task.name!r} cannot have a route: braces in a path mean a parameter. Rename it."
        )
    return task.name


def _problem(description: str) -> dict[str, Any]:
    """A documented answer with problem details."""
    return {"description": description, "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}


_PROBLEM = schemas.Problem.model_json_schema()
_RETRY = {"Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}}
_DOWN = _problem("The queue cannot be reached, or did not answer.") | {"headers": _RETRY}
_HEALTH: dict[str, Any] = {"operation_id": "fifoq_health", "summary": "Whether the process answers"}
_READY: dict[str, Any] = {
    "operation_id": "fifoq_ready",
    "summary": "Whether the queue can be reached, and is worked on if there is a worker here",
    "responses": {503: _DOWN},
}
_JOB: dict[str, Any] = {
    "operation_id": "fifoq_get_job",
    "summary": "A job, once it has ended or `wait` seconds have passed",
    "response_model": schemas.Job,
    "responses": {404: _problem("There is no such job."), 422: _problem("The request is not valid."), 503: _DOWN},
}


def _enqueue(task: AnyTask) -> dict[str, Any]:
    where = {"Location": {"description": "The job's address.", "schema": {"type": "string"}}}
    return {
        "methods": ["POST"],
        "operation_id": f"fifoq_enqueue_{task.name}",
        "summary": f"Enqueue {task.name}",
        "description": task.__doc__ or "",
        "status_code": 202,
        "response_model": schemas.Job,
        "response_description": "The job was accepted, and goes on.",
        "responses": {
            200: {
                "model": schemas.Job,
                "description": "The job has ended within `wait` seconds, or was there before.",
                "headers": where,
            },
            202: {"headers": where},
            409: _problem("The awaited job was cancelled."),
            413: _problem("The arguments are too large."),
            422: _problem("The arguments do not fit the task, or the id is taken by another job."),
            502: _problem("The awaited job failed."),
            503: _problem("The queue is full, or cannot be reached.") | {"headers": _RETRY},
            507: _problem("The queue's store has no room, or takes no writes."),
        },
    }
