"""Dependencies for a user's routes: `Jobs` and `LateJobs` instead of BackgroundTasks, `RateLimit` against floods."""

import logging
import math
import time
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends

from fifoq import FifoqError, JobHandle, NewJob, Task
from fifoq.errors import ConfigurationError
from fifoq_fastapi.problems import RateExceeded

_log = logging.getLogger("fifoq.fastapi")

P = ParamSpec("P")
R = TypeVar("R")


class JobAdder:
    """The value of the dependency `Jobs`: enqueues calls of tasks."""

    async def add_task(self, task: Task[P, R, Any], /, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """
        Enqueue a call of `task` and return its handle: `BackgroundTasks.add_task` with an `await`, and kept in order.

        The job may begin at once, also if the route raises afterwards; see `LateJobs` for one that waits for the end.
        Raises the errors of `task.enqueue` (InvalidArguments, QueueFull, …), and ConfigurationError for a function that
        is no task.

            @app.post("/signup", status_code=202)
            async def signup(email: str, jobs: Jobs) -> None:
                await jobs.add_task(send_welcome, email)
        """
        # Types are not checked when the app runs, and BackgroundTasks takes plain functions here.
        if not isinstance(task, Task):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(_not_a_task(task))
        return await task.enqueue(*args, **kwargs)


def _not_a_task(function: object) -> str:
    name = getattr(function, "__name__", repr(function))
    return (
        f"{name} is not a task, so it cannot be enqueued. Put @tasks.task above its definition, "
        "where `tasks` is your Fifoq, and add that."
    )


async def job_adder() -> JobAdder:
    """The dependency behind `Jobs`. It is a coroutine, because FastAPI runs functions in its thread pool."""
    return JobAdder()


Jobs = Annotated[JobAdder, Depends(job_adder)]
"""Declare it in a route: `async def route(jobs: Jobs)`. Tests replace it by `app.dependency_overrides[job_adder]`."""


class LateJobAdder:
    """The value of the dependency `LateJobs`: keeps calls of tasks, and enqueues them if the request ends well."""

    def __init__(self) -> None:
        self._calls: list[NewJob[Any]] = []

    def add_task(self, task: Task[P, R, Any], /, *args: P.args, **kwargs: P.kwargs) -> str:
        """
        Check a call of `task`, have it enqueued later, and return the id that its job will have.

        Raises InvalidArguments, and ConfigurationError for a function that is no task.
        """
        if not isinstance(task, Task):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(_not_a_task(task))
        call = task.bind(*args, **kwargs)
        self._calls.append(call)
        return call.id

    async def enqueue(self) -> None:
        """Enqueue the calls, in order. A call that cannot be enqueued is logged: the response has been sent."""
        calls, self._calls = self._calls, []
        for call in calls:
            try:
                await call.origin.connection.producer(call.origin.queue).put([call.spec()], call.wait)
            except FifoqError as error:
                _log.error(
                    "Job %s of task %r is lost: the response was sent, and then it could not be enqueued. %s",
                    call.id,
                    call.origin.task,
                    error,
                )


async def late_job_adder() -> AsyncGenerator[LateJobAdder]:
    """The dependency behind `LateJobs`."""
    late = LateJobAdder()
    yield late  # an error of the route is raised here, and nothing is enqueued
    await late.enqueue()


LateJobs = Annotated[LateJobAdder, Depends(late_job_adder)]
"""
Declare it in a route, before the dependency that commits, or in that dependency: `async def session(late: LateJobs)`.

FastAPI ends dependencies in the opposite order, so its jobs are enqueued after the commit.
"""


class RateLimit:
    """
    Shed requests beyond a rate with 429 and `Retry-After`: a token bucket per process, for one or many routes.

        app = FastAPI(dependencies=[Depends(RateLimit(burst=5000, per_second=1000))])

    `burst` requests may come at once; `per_second` refill it. One instance is one bucket, shared by all routes that
    depend on it. It costs one reading of the clock (`clock` returns nanoseconds), and no request waits.
    """

    def __init__(
        self, burst: int = 5000, per_second: float = 1000, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        if burst < 1 or not 0 < per_second < math.inf:
            raise ConfigurationError(
                f"A rate limit has a burst of 1 or more and a rate above 0, not burst={burst}, per_second={per_second}."
            )
        self._interval = math.ceil(_SECOND / per_second)
        self._slack = (burst - 1) * self._interval
        self._clock = clock
        self._full_at = clock()
        """The time when the bucket will be full again: the further ahead, the emptier it is."""

    async def __call__(self) -> None:
        now = self._clock()
        full_at = max(self._full_at, now)
        if full_at - now > self._slack:
            raise RateExceeded((full_at - now - self._slack) / _SECOND)
        self._full_at = full_at + self._interval


_SECOND = 1_000_000_000
