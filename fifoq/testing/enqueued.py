"""For tests of apps: the jobs that an app has enqueued, and running them. The app is typed here by protocols."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

from fifoq.codec import decode_call
from fifoq.job import Job
from fifoq.record import JobSpec

P = ParamSpec("P")
R = TypeVar("R")


class Drains(Protocol):
    """A worker."""

    async def drain(self) -> None:
        """Run jobs until none is left that may run."""
        ...


class Enqueues(Protocol):
    """A Fifoq."""

    def worker(self, *, grace: float | None = None) -> Drains:
        """Make a worker, with `grace` seconds for its jobs to finish when it is ended early."""
        ...

    def jobs(self) -> AsyncIterator[Job]:
        """Iterate over all jobs."""
        ...

    def run_sync(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run `work()` on the loop on which the Fifoq is open."""
        ...


class Bound(Protocol):
    """A checked call of a task."""

    def spec(self) -> JobSpec:
        """Return the job that the call would put."""
        ...


class Binds(Protocol[P]):
    """A task, with or without options."""

    @property
    def name(self) -> str: ...

    def bind(self, /, *args: P.args, **kwargs: P.kwargs) -> Bound:
        """Check a call."""
        ...


async def drain(tasks: Enqueues, timeout: float = 30.0) -> None:
    """
    Run all jobs that can run now, and those that they enqueue, and return. Raises TimeoutError after `timeout` seconds.

    Jobs with a delay stay. The app needs no worker of its own, and may have one.
    """
    async with asyncio.timeout(timeout):
        await tasks.worker(grace=0).drain()


async def enqueued(tasks: Enqueues, task: Binds[...] | None = None) -> list[Job]:
    """Return the jobs in the store, in order of entry, queue after queue: all of them, or those of one task."""
    return [job async for job in tasks.jobs() if task is None or job.task == task.name]


async def assert_enqueued(tasks: Enqueues, task: Binds[P], /, *args: P.args, **kwargs: P.kwargs) -> Job:
    """
    Return the newest job of this call, in any state. Raises AssertionError if there is none.

    Arguments are compared as they are sent: whether one was passed by name, or by default, makes no difference. With
    `task.options(…)` its key and its priority count too.

        await client.post("/matches/m1", json={"goals": 1})
        await assert_enqueued(tasks, save_stats, "m1", goals=1)
    """
    wanted = task.bind(*args, **kwargs).spec()
    jobs = await enqueued(tasks, task)
    for job in reversed(jobs):
        if (job.args, job.kwargs) == decode_call(wanted.payload) and _options(job) == _options(wanted):
            return job
    found = "".join(f"\n  {_shown(job)}" for job in jobs) or " none"
    raise AssertionError(f"{_shown(wanted)} was not enqueued. Enqueued of this task:{found}")


def drain_sync(tasks: Enqueues, timeout: float = 30.0) -> None:
    """As `drain`, from a thread other than the loop's: with a TestClient."""
    tasks.run_sync(lambda: drain(tasks, timeout))


def enqueued_sync(tasks: Enqueues, task: Binds[...] | None = None) -> list[Job]:
    """As `enqueued`, from a thread other than the loop's: with a TestClient."""
    return tasks.run_sync(lambda: enqueued(tasks, task))


def assert_enqueued_sync(tasks: Enqueues, task: Binds[P], /, *args: P.args, **kwargs: P.kwargs) -> Job:
    """As `assert_enqueued`, from a thread other than the loop's: with a TestClient."""
    return tasks.run_sync(lambda: assert_enqueued(tasks, task, *args, **kwargs))


def _options(job: Job | JobSpec) -> tuple[str | None, int]:
    return job.key, job.priority


def _shown(job: Job | JobSpec) -> str:
    args, kwargs = decode_call(job.payload) if isinstance(job, JobSpec) else (job.args, job.kwargs)
    given = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
    return f"{job.task}({', '.join(given)}) with key {job.key!r} and priority {job.priority}"
