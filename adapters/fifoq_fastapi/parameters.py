"""What requests may say: the parameters of the routes, with their bounds, as the OpenAPI document shows them."""

from collections.abc import Awaitable, Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response
from fastapi import Path as InPath

from fifoq.names import MAX_NAME
from fifoq.state import State
from fifoq_fastapi.access import Access, Scope

LONGEST_WAIT = 30.0
"""Seconds for which a request waits at most, whatever it asks for."""
LONGEST_PAGE = 100
"""Jobs on a page at most: each may have its arguments and its result, 256 KiB each by default."""
EVENTS = "/events"
"""What follows an id in the path of a job's stream: so an id that callers choose does not end so."""

Endpoint = Callable[..., Awaitable[Response]]
Declaration = tuple[Any, Any]
"""The annotation and the default of one parameter of an endpoint."""

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
    Annotated[str | None, Query(min_length=1, max_length=2048, description="Where the page before this one ended.")],
    None,
)
STATE: Declaration = (Annotated[State | None, Query(description="Only jobs in this state.")], None)
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
    """A query parameter that is a name: of a queue, a task or a key."""
    return Annotated[str | None, Query(min_length=1, max_length=MAX_NAME, description=description)], None


def owner_of(access: Access, scope: Scope) -> Declaration:
    """The owner whom the caller stands for; asking for it is what guards a route."""
    return Annotated[str | None, access.caller(scope)], Parameter.empty


def idempotency_key(access: Access) -> Declaration:
    """The id that the caller chooses for the job."""
    header = Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=access.longest_id,
        description="The job's id. A repeat with the same id enqueues nothing, and answers 200 with the same job.",
    )
    return Annotated[str | None, header], None


def declared(endpoint: Endpoint, **parameters: Declaration) -> Endpoint:
    """Return `endpoint` with the parameters that FastAPI is to see: they depend on the task and on who may call."""

    async def route(**given: Any) -> Response:
        return await endpoint(**given)

    vars(route)["__signature__"] = Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            for name, (annotation, default) in parameters.items()
        ]
    )
    return route
