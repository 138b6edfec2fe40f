"""
Problem details (RFC 9457): the answer to each FifoqError, and the route class that sends it.

Details of the store (addresses, paths, versions) go to the log, never to the caller.
"""

import json
import logging
import math
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Set
from typing import Any, NamedTuple, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from fifoq.codec import MAX_PAYLOAD
from fifoq.errors import (
    BackendBusy,
    BackendFull,
    BackendReadOnly,
    BackendUnavailable,
    ConfigurationError,
    FifoqError,
    IdConflict,
    InvalidArguments,
    JobCancelled,
    JobFailed,
    JobNotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    QueueFull,
    ResultTimeout,
)
from fifoq.jsonable import dump

log = logging.getLogger("fifoq.fastapi")

MEDIA_TYPE = "application/problem+json"
DEFAULT_RETRY_AFTER = 1.0
"""Seconds in `Retry-After` when the error has no number of its own."""
MAX_TEXT = 1_000
"""The most characters of a text of a problem. An error may repeat names that the caller sent, of any length."""
MAX_ERRORS = 10
"""The most errors that a problem lists. The rest is counted."""
_JSON_EXPANSION = 8
"""How much longer arguments may be as JSON than encoded: an escaped control character takes six bytes, not one."""


# ---- errors of the adapter ----


class RateExceeded(FifoqError, HTTPException):
    """
    The rate of requests is exceeded; this one was shed. Try again after `retry_after` seconds.

    It is an HTTPException too, so that an app without `install_errors` answers 429 as well.
    """

    def __init__(self, retry_after: float) -> None:
        HTTPException.__init__(
            self,
            429,
            f"Too many requests. Try again in {retry_after:.3g} s.",
            {"Retry-After": _whole_seconds(retry_after)},
        )
        self.retry_after = retry_after


class UnknownQueue(FifoqError):
    """The Fifoq of a router has no queue of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no queue {name!r} here.")


# ---- types of problems ----


class ProblemResponse(JSONResponse):
    """An answer with problem details."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        return dump(content).encode()


class ProblemType(NamedTuple):
    """A type of problem: the status and the texts of all its problems."""

    status: int
    type: str
    """The last part of the type's URI, by which programs distinguish types."""
    title: str
    detail: str | None = None
    """Sent instead of the error's own text, where that is for the log only."""


INVALID_REQUEST = ProblemType(422, "invalid-request", "The request is not valid")
NOT_ALLOWED = ProblemType(405, "method-not-allowed", "Method not allowed")
TOO_LARGE = ProblemType(413, "body-too-large", "The request's body is too large")
_INTERNAL = ProblemType(
    500, "internal-error", "Internal error", "Something is wrong on the server. It was logged there."
)
_PROBLEM_TYPES: dict[type[BaseException], ProblemType] = {
    QueueFull: ProblemType(503, "queue-full", "The queue is full"),
    UnknownQueue: ProblemType(404, "unknown-queue", "No such queue"),
    RateExceeded: ProblemType(429, "rate-exceeded", "Too many requests"),
    PayloadTooLarge: ProblemType(413, "payload-too-large", "The arguments are too large"),
    InvalidArguments: ProblemType(422, "invalid-arguments", "The arguments do not fit"),
    IdConflict: ProblemType(422, "id-conflict", "The id is taken by another job"),
    JobNotFound: ProblemType(404, "job-not-found", "No such job"),
    JobFailed: ProblemType(502, "job-failed", "The job failed"),
    JobCancelled: ProblemType(409, "job-cancelled", "The job was cancelled"),
    ResultTimeout: ProblemType(504, "result-timeout", "The job did not end in time"),
    BackendUnavailable: ProblemType(
        503, "backend-unavailable", "The queue cannot be reached", "Nothing took effect. Try again later."
    ),
    OutcomeUnknown: ProblemType(
        503,
        "outcome-unknown",
        "The queue did not answer",
        "The request may have taken effect. Repeat it with the same Idempotency-Key: that is safe.",
    ),
    BackendBusy: ProblemType(503, "backend-busy", "The queue is busy", "Nothing took effect. Try again later."),
    BackendFull: ProblemType(507, "backend-full", "The queue has no room left", "Nothing took effect."),
    BackendReadOnly: ProblemType(507, "backend-read-only", "The queue takes no writes", "Nothing took effect."),
    FifoqError: _INTERNAL,
}


# ---- from an error to its answer ----


def error_response(error: FifoqError) -> ProblemResponse:
    """Return the answer for `error`. A text that the caller does not get is logged."""
    problem = next(_PROBLEM_TYPES[cls] for cls in type(error).__mro__ if cls in _PROBLEM_TYPES)
    if problem.detail is not None:
        log.error("%s: %s", type(error).__name__, error, exc_info=error if problem is _INTERNAL else None)
    detail = _detail(error) if problem.detail is None else problem.detail
    return problem_response(problem, detail, headers=_headers(problem, error), members=_members(error))


def problem_response(
    problem: ProblemType,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> ProblemResponse:
    """Return the answer for a problem; `members` are its own, besides those that every problem has."""
    content = {
        "type": f"urn:fifoq:{problem.type}",
        "title": problem.title,
        "status": problem.status,
        "detail": _cut(detail),
        **{name: _cut(value) if isinstance(value, str) else value for name, value in (members or {}).items()},
    }
    return ProblemResponse(content, problem.status, dict(headers or {}))


def install_errors(app: FastAPI) -> None:
    """
    Answer every FifoqError that a route of `app` raises with problem details. Other errors are left alone.

    Call it before the app starts. Raises ConfigurationError if the app has already answered a request.
    """
    if app.middleware_stack is not None:
        raise ConfigurationError("install_errors(app) comes too late: call it before the app starts.")
    app.add_exception_handler(FifoqError, _handle)


async def _handle(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, FifoqError)
    return error_response(error)


def _detail(error: FifoqError) -> str:
    """Return the text for the caller. The error of a failed job may hold secrets, so only its class is sent."""
    match error:
        case JobFailed():
            return f"Job {error.id} of task {error.task!r} failed with {error.type}."
        case RateExceeded():
            return error.detail
        case _:
            return str(error)


def _members(error: FifoqError) -> dict[str, Any]:
    match error:
        case InvalidArguments(parameter=str(parameter)):
            return {"parameter": parameter}
        case JobFailed() | JobCancelled() | ResultTimeout():
            return {"job_id": error.id, "task": error.task}
        case JobNotFound() | IdConflict():
            return {"job_id": error.id}
        case _:
            return {}


def _headers(problem: ProblemType, error: FifoqError) -> dict[str, str]:
    if isinstance(error, QueueFull | RateExceeded):
        # A batch larger than the capacity never fits, so there is no `Retry-After`.
        return {} if error.retry_after is None else {"Retry-After": _whole_seconds(error.retry_after)}
    return {"Retry-After": _whole_seconds(DEFAULT_RETRY_AFTER)} if problem.status == 503 else {}


def _whole_seconds(seconds: float) -> str:
    return str(max(1, math.ceil(seconds)))


# ---- the route class ----


class BodyTooLarge(HTTPException):
    """The body is longer than the route reads. FastAPI lets an HTTPException through while it reads the body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The body has more than {limit:,} bytes.")


class ProblemRoute(APIRoute):
    """A route that reads a bounded body and answers its errors with problem details."""

    max_payload: Callable[[], int] = staticmethod(lambda: MAX_PAYLOAD)
    """Returns the number of bytes that the encoded arguments in the body may have."""

    allowed: Set[str] = frozenset()
    """The methods of all routes at its path, for the answer to other methods."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(_BoundedRequest(request, self.max_payload() * _JSON_EXPANSION))
            except RequestValidationError as error:
                return _invalid(error)
            except HTTPException as error:
                # This includes the app's own limit of a body, if it has one.
                if error.status_code != TOO_LARGE.status:
                    raise
                return problem_response(TOO_LARGE, error.detail)
            except FifoqError as error:
                return error_response(error)

        return answer

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self.methods or {scope["method"]}
        if scope["method"] in methods:
            await super().handle(scope, receive, send)
            return
        allowed = ", ".join(sorted(self.allowed | methods))
        response = problem_response(NOT_ALLOWED, f"{scope['method']} is not allowed here.", headers={"Allow": allowed})
        await response(scope, receive, send)


class _BoundedRequest(Request):
    """A request that refuses a body as soon as it turns out to be too long, before it is read whole."""

    def __init__(self, request: Request, limit: int) -> None:
        super().__init__(request.scope, request.receive)
        self._limit = limit

    async def stream(self) -> AsyncGenerator[bytes, None]:
        announced = self.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._limit:
            raise BodyTooLarge(self._limit)
        length = 0
        async for chunk in super().stream():
            length += len(chunk)
            if length > self._limit:
                raise BodyTooLarge(self._limit)
            yield chunk

    async def json(self) -> Any:
        """Read the body as JSON. Any error becomes a JSONDecodeError: FastAPI answers 400 to others."""
        try:
            return await super().json()
        except (UnicodeDecodeError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error


def _invalid(error: RequestValidationError) -> ProblemResponse:
    """Return the answer to a request that does not fit the route. The caller's own input is not echoed."""
    findings = cast("list[dict[str, Any]]", list(error.errors()))
    errors = [
        {"where": _cut(".".join(map(str, each["loc"]))), "message": _cut(each["msg"])} for each in findings[:MAX_ERRORS]
    ]
    first = findings[0]["loc"]
    detail = "; ".join(f"{each['where']}: {each['message']}" for each in errors[:5])
    more = len(findings) - len(errors)
    members = {"parameter": str(first[min(1, len(first) - 1)]), "errors": errors}
    return problem_response(INVALID_REQUEST, detail, members=members | ({"more_errors": more} if more else {}))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
