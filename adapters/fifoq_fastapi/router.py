"""
The routes of a Fifoq: enqueue, look at a job, and whether the service is up.

Declarations only: the OpenAPI document is made from them. What the routes do is in endpoints.py.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from fastapi import APIRouter
from starlette.routing import Match
from starlette.types import Scope

from fifoq import Fifoq
from fifoq.errors import ConfigurationError
from fifoq.task import Task
from fifoq_fastapi import health, schemas
from fifoq_fastapi.access import Access, Authenticate, OwnerOf
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
        self._exposed = expose if expose == "all" else _own(tasks, expose)
        self._routed = set[str]()
        self.add_api_route("/jobs/{id}", job_endpoint(tasks, access), **_JOB)
        self.add_api_route("/tasks/{name:path}", unknown_task, methods=["POST"], include_in_schema=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        self._add_new_tasks()
        return super().matches(scope)

    def _get_routes_version(self, seen: set[int] | None = None) -> int:
        # Asked by FastAPI before it makes the OpenAPI document. Should the name change, then a task that was registered
        # late is documented from the first request on, and a test says so.
        self._add_new_tasks()
        return super()._get_routes_version(seen)
