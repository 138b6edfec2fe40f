"""
The router's own kind of route: what goes wrong inside it is answered with problem details, whether the app has
`install_errors` or not. What an `auth` dependency raises stays as it is; the app's other routes are not touched.
"""

import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Set
from typing import Any, cast

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from fifoq.codec import MAX_PAYLOAD
from fifoq.errors import FifoqError
from fifoq_fastapi.problems import Kind, ProblemResponse, problem, respond

INVALID_REQUEST = Kind(422, "invalid-request", "The request is not valid")
NOT_ALLOWED = Kind(405, "method-not-allowed", "Method not allowed")
TOO_LARGE = Kind(413, "body-too-large", "The request's body is too large")


_EXPANSION = 8
"""How much longer arguments may be as JSON than encoded: an escaped control character takes six bytes, not one."""


class BodyTooLarge(HTTPException):
    """The body is longer than the route reads. FastAPI lets an HTTPException through while it reads the body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The body has more than {limit:,} bytes.")


class ProblemRoute(APIRoute):
    """A route that reads a bounded body and answers its errors with problem details."""

    max_payload: Callable[[], int] = staticmethod(lambda: MAX_PAYLOAD)
    """Of how many bytes the arguments in the body may be once they are encoded."""

    allowed: Set[str] = frozenset()
    """The methods that its path knows, if those are more than its own."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(_BoundedRequest(request, self.max_payload() * _EXPANSION))
            except RequestValidationError as error:
                return _invalid(error)
            except HTTPException as error:
                # Also the app's own limit of a body, if it has one.
                if error.status_code != TOO_LARGE.status:
                    raise
                return respond(TOO_LARGE, error.detail)
            except FifoqError as error:
                return problem(error)

        return answer

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self.methods or {scope["method"]}
        if scope["method"] in methods:
            await super().handle(scope, receive, send)
            return
        allowed = ", ".join(sorted(self.allowed | methods))
        response = respond(NOT_ALLOWED, f"{scope['method']} is not allowed here.", headers={"Allow": allowed})
        await response(scope, receive, send)


class _BoundedRequest(Request):
    """A request whose body is refused as soon as it is known to be too long, before it is read whole."""

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
        """Read the body as JSON. FastAPI answers 400 to errors other than JSONDecodeError: here all are the same."""
        try:
            return await super().json()
        except (UnicodeDecodeError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error


def _invalid(error: RequestValidationError) -> ProblemResponse:
    """The answer to a request that does not fit the route. The caller's own input is not echoed."""
    findings = cast("list[dict[str, Any]]", list(error.errors()))
    errors = [{"where": ".".join(map(str, each["loc"])), "message": each["msg"]} for each in findings]
    first = findings[0]["loc"]
    detail = "; ".join(f"{each['where']}: {each['message']}" for each in errors[:5])
    return respond(INVALID_REQUEST, detail, members={"parameter": str(first[min(1, len(first) - 1)]), "errors": errors})
