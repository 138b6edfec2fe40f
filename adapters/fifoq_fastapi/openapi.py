"""The OpenAPI documentation of the routes: names, summaries, responses and examples. Declarations only."""

from typing import Any, Literal

from fastapi import Response

from fifoq import Task
from fifoq_fastapi import schemas
from fifoq_fastapi.events import EventStream
from fifoq_fastapi.problems import MEDIA_TYPE

RouteKeywords = dict[str, Any]
"""Keywords of `add_api_route`."""

_JSON = "application/json"
_RETRY = {"Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}}
_LOCATION = {"Location": {"description": "The job's address.", "schema": {"type": "string"}}}


def _problem(status: int, type: str, description: str, **members: Any) -> dict[int | str, Any]:
    """Return the documentation of a response with problem details, with an example."""
    example = {"type": f"urn:fifoq:{type}", "title": description.rstrip("."), "status": status, "detail": description}
    content = _ProblemContent({MEDIA_TYPE: {"example": example | members}})
    response = {"model": schemas.FifoqProblem, "description": description, "content": content}
    return {status: response | ({"headers": _RETRY} if status == 503 else {})}


class _ProblemContent(dict[str, Any]):
    """
    The content of a problem's response. FastAPI adds the schema of its model here, by `setdefault`.

    It would do so under the media type of the route's good answers. A model in `responses` is the only way into the
    components of the document.
    """

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        return super().setdefault(MEDIA_TYPE, default)


_INVALID = _problem(422, "invalid-request", "The request is not valid.", parameter="wait")
_DOWN = _problem(503, "backend-unavailable", "The queue cannot be reached, or did not answer.")
_NO_JOB = _problem(404, "job-not-found", "There is no such job.", job_id="018f6c1e")
_NO_QUEUE = _problem(404, "unknown-queue", "There is no such queue.")
_NO_ROOM = _problem(507, "backend-full", "The queue's store has no room, or takes no writes.")
_NOT_ALLOWED: dict[int | str, Any] = {
    401: {"description": "Who calls is not known: answered by the app's own authentication."},
    403: {"description": "Who calls may not do this: answered by the app's own authentication."},
}
_EVENTS = """
`state` comes with the whole job whenever it has changed, `progress` with the progress alone, `gone` if the job is no
longer kept. Each has an id: come back with it as `Last-Event-ID`, to this server or another, and the stream goes on
from there. It shows what the job is, not all that it was: changes in quick succession are one event.
"""
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["state", "progress", "gone"]},
        "data": {"type": "string", "contentMediaType": _JSON},
        "id": {"type": "string"},
        "retry": {"type": "integer", "minimum": 0},
    },
    "examples": [
        {"event": "state", "data": '{"id": "018f6c1e", "state": "running", …}', "id": "9f0c44d1a2b35e6718c9d0aa"},
        {"event": "progress", "data": '{"done": 3, "total": 10, "note": ""}', "id": "1b7e02c4d8f96a3375e1c2bb"},
    ],
}
"""The schema of one event, in the form that FastAPI uses for its own streams."""


class RouteDocs:
    """The documentation of one router: for each route the keywords of `add_api_route`, under the router's name."""

    def __init__(self, name: str, guarded: bool) -> None:
        self._name = name
        self._common = {**_INVALID, **_DOWN, **(_NOT_ALLOWED if guarded else {})}

    def enqueue(self, task: Task[..., Any, Any]) -> RouteKeywords:
        """Document the route that enqueues `task`."""
        responses = {
            200: {
                "model": schemas.FifoqJob,
                "description": "The job has ended within `wait` seconds, or was there before.",
                "headers": _LOCATION,
            },
            202: {"headers": _LOCATION},
            **self._common,
            **_problem(409, "job-cancelled", "The awaited job was cancelled.", job_id="018f6c1e", task=task.name),
            **_problem(413, "payload-too-large", "The arguments are too large."),
            **_problem(422, "invalid-arguments", "The arguments do not fit, or the id is taken.", parameter="tick"),
            **_problem(502, "job-failed", "The awaited job failed.", job_id="018f6c1e", task=task.name),
            **_problem(503, "queue-full", "The queue is full, or cannot be reached."),
            **_NO_ROOM,
        }
        return self._route(f"enqueue_{task.name}", f"Enqueue {task.name}", responses, method="POST") | {
            "description": task.__doc__ or "",
            "status_code": 202,
            "response_model": schemas.FifoqJob,
            "response_description": "The job was accepted, and goes on.",
        }

    def list_jobs(self) -> RouteKeywords:
        """Document the page of jobs."""
        summary = "Jobs in order of entry, by filters"
        return self._route("list_jobs", summary, {**self._common, **_NO_QUEUE}) | {
            "response_model": schemas.FifoqJobPage
        }

    def get_job(self) -> RouteKeywords:
        """Document the look at one job."""
        summary = "A job, once it has ended or `wait` seconds have passed"
        return self._route("get_job", summary, {**self._common, **_NO_JOB}) | {"response_model": schemas.FifoqJob}

    def follow_job(self) -> RouteKeywords:
        """Document a job's stream of events."""
        responses = {
            200: {"content": {EventStream.media_type: {"itemSchema": _EVENT}}},
            204: {"description": "The job has ended, and `Last-Event-ID` says that its end was seen."},
            **self._common,
            **_NO_JOB,
            **_problem(503, "too-many-streams", "Too many streams are open, or the queue cannot be reached."),
        }
        return self._route("follow_job", "A job's state and progress, as server-sent events", responses) | {
            "description": _EVENTS,
            "status_code": 200,
            "response_class": Response,  # FastAPI documents a class with a media type as a text
            "response_description": "A stream of events, until the job has ended or the server stops.",
        }

    def cancel_job(self) -> RouteKeywords:
        """Document the cancelling of a job."""
        responses = {
            202: {"model": schemas.FifoqJob, "description": "The job runs, and was asked to stop."},
            204: {"description": "The job was cancelled, and is not kept."},
            **self._common,
            **_NO_JOB,
            **_NO_ROOM,
        }
        return self._route("cancel_job", "Cancel a job", responses, method="DELETE") | {
            "response_model": schemas.FifoqJob,
            "response_description": "The job is cancelled, or had ended before.",
        }

    def requeue_job(self) -> RouteKeywords:
        """Document the requeueing of a job."""
        responses = {
            **self._common,
            **_NO_JOB,
            **_problem(409, "not-failed", "The job is not failed."),
            **_problem(422, "id-conflict", "The request is not valid, or another job holds the job's unique text."),
            **_NO_ROOM,
        }
        return self._route("requeue_job", "Put a failed job back", responses, method="POST") | {
            "response_model": schemas.FifoqJob
        }

    def skip_job(self) -> RouteKeywords:
        """Document the skipping of a job."""
        conflict = _problem(409, "holds-no-key", "The job does not keep its key closed.")
        responses = {**self._common, **_NO_JOB, **conflict, **_NO_ROOM}
        summary = "Let the key of a halted job go on without it"
        return self._route("skip_job", summary, responses, method="POST") | {"response_model": schemas.FifoqJob}

    def list_queues(self) -> RouteKeywords:
        """Document the list of queues."""
        responses = {status: each for status, each in self._common.items() if status != 422}
        return self._route("list_queues", "The queues, and how many jobs they have", responses) | {
            "response_model": schemas.FifoqQueues
        }

    def pause_or_resume(self, verb: Literal["pause", "resume"]) -> RouteKeywords:
        """Document the pausing or resuming of a queue."""
        summary = f"{verb.capitalize()} a queue, a task of it, or a key of it"
        responses = {**self._common, **_NO_QUEUE, **_NO_ROOM}
        return self._route(f"{verb}_queue", summary, responses, method="POST") | {
            "status_code": 204,
            "response_description": "So it is now, whatever it was before.",
        }

    def list_blocked_keys(self) -> RouteKeywords:
        """Document the page of blocked keys."""
        summary = "The keys that are halted, paused or backing off, those blocked for longest first"
        return self._route("list_blocked_keys", summary, {**self._common, **_NO_QUEUE}) | {
            "response_model": schemas.FifoqKeyPage
        }

    def health(self) -> RouteKeywords:
        """Document the check of the process."""
        return self._route("health", "Whether the process answers", {})

    def ready(self) -> RouteKeywords:
        """Document the check of the backend and the worker."""
        return self._route("ready", "Whether the queue can be reached, and is worked on if a worker is here", _DOWN)

    def _route(self, id: str, summary: str, responses: dict[int | str, Any], *, method: str = "GET") -> RouteKeywords:
        return {
            "methods": [method],
            "name": f"{self._name}:{id}",
            "operation_id": f"{self._name}_{id}",
            "summary": summary,
            "responses": responses,
        }
