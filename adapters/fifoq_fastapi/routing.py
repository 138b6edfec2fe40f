"""
The router of a Fifoq: the path of each route.

The endpoints are in routes.py, their documentation in openapi.py.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from fifoq import Fifoq, Task
from fifoq.errors import ConfigurationError
from fifoq.extras import unfit
from fifoq_fastapi.access import AccessRules, Authenticate, OwnerOf
from fifoq_fastapi.events import JobFollower, Streams
from fifoq_fastapi.openapi import RouteDocs
from fifoq_fastapi.problems import ProblemRoute
from fifoq_fastapi.routes import (
    EVENTS,
    JobRoutes,
    QueueRoutes,
    enqueue_endpoint,
    health,
    ready_endpoint,
    unknown_task_endpoint,
)
from fifoq_fastapi.service import JobService


class _NameConvertor(Convertor[str]):
    # Starlette's own `path` stops at a line break: then no route would match, and the app would answer instead.
    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("fifoq_name", _NameConvertor())

JOB = "/jobs/{id:fifoq_name}"
QUEUE = "/queues/{name:fifoq_name}"
ANY_TASK = "/tasks/{name:fifoq_name}"

AnyTask = Task[..., Any, Any]


def router(
    tasks: Fifoq,
    *,
    expose: Sequence[AnyTask] | Literal["all"],
    auth: Authenticate | None = None,
    public: bool = False,
    owner: OwnerOf | None = None,
    name: str = "fifoq",
    streams: int = 1000,
) -> APIRouter:
    """
    Return routes for `app.include_router(…, prefix="/queue")`.

    `expose` lists the tasks that may be enqueued over HTTP; `"all"` includes those registered later. `auth` is a
    dependency, called with the scope `fifoq:read` or `fifoq:write`; `owner` takes its value and returns the owner's
    name, which is stored with the caller's jobs: no other owner sees them. Queues belong to all owners, so a router
    with `owner` does not count, pause or resume them; make another one for operators. `public=True` admits all callers.

    `name` begins the operation ids and the names of the routes (`fifoq_get_job`, `fifoq:get_job`), for apps with
    several routers. At most `streams` streams of events are open at a time. With `owner`, more than half of them are
    kept for the first stream of each owner.

    Raises ConfigurationError without `auth` or `public=True`, or if a task of another Fifoq is exposed.
    """
    return TaskRouter(tasks, expose, AccessRules.of(auth, public, owner), name, streams)


class TaskRouter(APIRouter):
    """
    A router with one route per exposed task, made when FastAPI first reads the routes.

    By then the annotations of the tasks can be resolved. Tasks registered later get their routes as well: FastAPI keeps
    the routers that it includes, and reads their routes again when their version has changed.
    """

    def __init__(
        self, tasks: Fifoq, expose: Sequence[AnyTask] | Literal["all"], access: AccessRules, name: str, streams: int
    ) -> None:
        super().__init__(route_class=ProblemRoute, tags=[name])
        self._access = access
        self._service = JobService(tasks, declared=not access.for_operators)
        self._docs = RouteDocs(name, access.auth is not None)
        if not hasattr(APIRouter, "_get_routes_version"):
            raise unfit("fastapi")
        self._exposed = tasks.tasks.values() if expose == "all" else _checked(tasks, expose)
        """The exposed tasks. With `"all"` a view, in which tasks that are registered later appear."""
        self._routed = set[str]()
        self._add_jobs(JobRoutes(self._service, access, Streams(JobFollower(tasks), streams)))
        self._add_queues(QueueRoutes(self._service, access))
        self.add_api_route("/health", health, **self._docs.health())
        self.add_api_route("/ready", ready_endpoint(tasks), **self._docs.ready())
        unknown = unknown_task_endpoint(access)
        self.add_api_route(ANY_TASK, unknown, methods=["POST"], include_in_schema=False)
        _share_methods(self.routes)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if len(self._exposed) > len(self._routed):
            self._add_new_tasks()
        return super().matches(scope)

    def _get_routes_version(self, seen: set[int] | None = None) -> int:
        # FastAPI calls this twice a request, and before it makes the OpenAPI document or finds a route by its name.
        # If FastAPI renames it, a task registered late is documented from the first request on, and a test fails.
        if len(self._exposed) > len(self._routed):
            self._add_new_tasks()
        return super()._get_routes_version(seen)

    def _add_jobs(self, jobs: JobRoutes) -> None:
        # The longer paths come first, because an id may contain slashes.
        docs = self._docs
        self.add_api_route("/jobs", jobs.list_jobs(), **docs.list_jobs())
        self.add_api_route(f"{JOB}{EVENTS}", jobs.follow_job(), **docs.follow_job())
        self.add_api_route(f"{JOB}/requeue", jobs.requeue_job(), **docs.requeue_job())
        self.add_api_route(f"{JOB}/skip", jobs.skip_job(), **docs.skip_job())
        self.add_api_route(JOB, jobs.get_job(), **docs.get_job())
        self.add_api_route(JOB, jobs.cancel_job(), **docs.cancel_job())

    def _add_queues(self, queues: QueueRoutes) -> None:
        docs = self._docs
        self.add_api_route("/keys/blocked", queues.list_blocked_keys(), **docs.list_blocked_keys())
        if self._access.owner is None:
            self.add_api_route("/queues", queues.list_queues(), **docs.list_queues())
            self.add_api_route(f"{QUEUE}/pause", queues.pause_queue(), **docs.pause_or_resume("pause"))
            self.add_api_route(f"{QUEUE}/resume", queues.resume_queue(), **docs.pause_or_resume("resume"))

    def _add_new_tasks(self) -> None:
        """Add the routes of tasks that have none yet, before the route of names without a task."""
        for task in [each for each in tuple(self._exposed) if each.name not in self._routed]:
            self._routed.add(task.name)
            endpoint = enqueue_endpoint(self._service, task, self._access)
            self.add_api_route(f"/tasks/{_task_path(task)}", endpoint, **self._docs.enqueue(task))
            route = self.routes.pop()
            assert isinstance(route, ProblemRoute)
            route.max_payload = partial(getattr, task.signature, "limit")
            self.routes.insert(0, route)


def _share_methods(routes: Iterable[BaseRoute]) -> None:
    """Give each route the methods of all routes at its path, for the answer to other methods."""
    allowed: dict[str, set[str]] = {}
    problem_routes = [route for route in routes if isinstance(route, ProblemRoute)]
    for route in problem_routes:
        route.allowed = allowed.setdefault(route.path, set())
        route.allowed |= route.methods or set()


def _checked(tasks: Fifoq, expose: Iterable[AnyTask]) -> tuple[AnyTask, ...]:
    exposed = tuple(dict.fromkeys(expose))
    for task in exposed:
        name = str(getattr(task, "name", task))
        if tasks.tasks.get(name) is not task:
            raise ConfigurationError(f"router() cannot expose {name!r}: it is no task of the Fifoq it is made for.")
    return exposed


def _task_path(task: AnyTask) -> str:
    if "{" in task.name:
        raise ConfigurationError(
            f"Task {task.name!r} cannot have a route: braces in a path mean a parameter. Rename it."
        )
    return task.name
