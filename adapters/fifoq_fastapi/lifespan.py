"""The app's lifespan: opens the Fifoq, runs an embedded worker if asked to, and composes with the app's own."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple, cast

from fastapi import FastAPI, Request

from fifoq import Fifoq, Worker
from fifoq_fastapi.ending import Ending

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]
"""What `FastAPI(lifespan=…)` takes. It may yield a mapping: that becomes part of `request.state`."""

_STATE = "fifoq"


class Running(NamedTuple):
    """What a lifespan holds open."""

    worker: Worker | None
    ending: Ending


def lifespan(tasks: Fifoq, worker: bool = False, then: Lifespan | None = None) -> Lifespan:
    """
    Return a lifespan for `FastAPI(lifespan=…)` that opens `tasks`, and with `worker=True` runs its jobs here.

    `then` is the app's own lifespan, or that of another Fifoq. It starts when `tasks` is open and before the worker
    claims anything, and ends after the worker: jobs find what it set up, and it may enqueue. At shutdown the server
    first ends its requests; the worker goes on claiming until then, so that those which await results can finish, and
    has its grace period after that. Streams, and requests that wait for a job by `?wait=`, end at the server's signal.

        app = FastAPI(lifespan=lifespan(tasks, worker=True, then=open_database))
    """

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncGenerator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(tasks)
            state = dict(await stack.enter_async_context(then(app)) or {}) if then else {}
            ending = stack.enter_context(Ending().listening())
            embedded = await stack.enter_async_context(tasks.worker()) if worker else None
            if embedded is not None:
                ending.hurry = embedded.hurry
            held = {**state.get(_STATE, {}), tasks: Running(embedded, ending)}
            yield {**state, _STATE: held}

    return run


def running(request: Request, tasks: Fifoq) -> Running | None:
    """Return what this app's lifespan holds open of `tasks`; None if it was not run, or is not `lifespan`."""
    held = cast("Mapping[Fifoq, Running]", getattr(request.state, _STATE, {}))
    return held.get(tasks)
