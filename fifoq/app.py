"""`Fifoq`, the main class of the public API: it declares queues and tasks, enqueues, and makes workers."""

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, Self, TypedDict, TypeVar, Unpack, cast, overload

from fifoq.backends import connect
from fifoq.clock import Clock
from fifoq.connection import BackendConnection
from fifoq.errors import ConfigurationError
from fifoq.limits import Limit, Rate
from fifoq.operations import SyncOperations
from fifoq.registry import AnyTask, Registry
from fifoq.settings import SettingArguments
from fifoq.task.context import Context
from fifoq.task.definition import TaskSettings
from fifoq.task.handle import JobHandle
from fifoq.task.task import First, NewJob, Task, TaskDecorator, put_batch
from fifoq.url import redacted
from fifoq.worker import Worker, WorkerSettings, Workplace

P = ParamSpec("P")
R = TypeVar("R")

Lifespan = Callable[..., AbstractAsyncContextManager[Any]]
"""Takes nothing or the Fifoq, and returns an async context manager, whose value is `ctx.resources`."""


class WorkerArguments(TypedDict, total=False):
    """The keywords of `Fifoq.worker`. The Fifoq's settings are their defaults."""

    queues: str | Sequence[str] | None
    """The queues it works on. Default: all queues that have tasks here."""
    concurrency: int | None
    """Jobs at a time."""
    threads: int | None
    """Of those, at most so many of functions that are not async."""
    grace: float | None
    """Seconds that its jobs have to finish when it stops."""


class Fifoq(SyncOperations):
    """
    Background jobs in order.

        tasks = Fifoq("sqlite:///jobs.db")

        @tasks.task(key="match_id")
        async def save_stats(match_id: str, goals: int) -> int: ...

        async with tasks, tasks.worker():
            job = await save_stats.enqueue("m1", goals=3)
            print(await job.result())

    `url` names the store; without one, the environment variable FIFOQ_URL does, or else it is `memory://`. Settings
    are keywords (`lease=15.0`), environment variables (FIFOQ_LEASE) or defaults, read when it is opened. A worker
    enters `lifespan` around its work: a function that takes nothing or this Fifoq, and returns an async context
    manager, whose value is `ctx.resources`. `clock` replaces the backend's clock, for tests.

    It may be opened any number of times at once on one loop, and closed and opened again on another.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        lifespan: Lifespan | None = None,
        clock: Clock | None = None,
        **settings: Unpack[SettingArguments],
    ) -> None:
        registry = Registry()
        super().__init__(registry, BackendConnection({**settings, "url": url}, registry, partial(connect, clock=clock)))
        self._lifespan = lifespan

    @property
    def tasks(self) -> Mapping[str, AnyTask]:
        """The registered tasks by name. Those registered later appear too."""
        return MappingProxyType(self._registry.tasks)

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of the queues that were declared or are named by a task, in order of name."""
        return self._registry.queues

    @property
    def is_open(self) -> bool:
        """Whether it is open, on any loop."""
        return self._connection.is_open

    def queue(
        self,
        name: str,
        *,
        ordered: bool = False,
        limit: int | Limit | None = None,
        rate: str | Rate | None = None,
        capacity: int | None = None,
    ) -> None:
        """
        Declare a queue. A queue that is only named by a task needs no declaration.

        `ordered` makes it one line: one job at a time, in order. `limit` is how many jobs run at a time over all
        workers, `rate` how many start in a time (`"500/s"`), `capacity` how many may be scheduled, waiting or running.
        Raises ConfigurationError.
        """
        self._registry.add_queue(name, ordered=ordered, limit=limit, rate=rate, capacity=capacity)
        self._connection.write_new_settings()

    @overload
    def task(self, function: First[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: First[P, R], /) -> Task[P, R, R]: ...
    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R, R]: ...
    @overload
    def task(self, /, **settings: Unpack[TaskSettings]) -> TaskDecorator: ...
    def task(self, function: Callable[..., Any] | None = None, /, **settings: Unpack[TaskSettings]) -> Any:
        """
        Register a function as a task, with or without settings: `@tasks.task` or `@tasks.task(key="match_id")`.

        The worker fills in a first parameter annotated as `Context`; it is not part of the enqueued arguments. Raises
        ConfigurationError, naming the fault. The settings are those of `TaskSettings`.
        """
        return self._register(settings, function) if function is not None else partial(self._register, settings)

    async def enqueue_many(self, jobs: Sequence[NewJob[R]]) -> list[JobHandle[R]]:
        """
        Enqueue bound calls of one queue as one batch: all of them, in order, or none.

            await tasks.enqueue_many([save_stats.bind("m1", 1), save_stats.bind("m1", 2)])

        Raises the errors of `Task.enqueue`, and InvalidArguments for calls of different queues.
        """
        return await put_batch(self._connection, jobs)

    def worker(self, **arguments: Unpack[WorkerArguments]) -> Worker:
        """
        Make a worker for this Fifoq: `async with tasks.worker():` to embed it, `await tasks.worker().run()` to work
        until a signal, `await tasks.worker().drain()` until nothing is left to do. It opens the Fifoq itself.
        """
        settings = self._connection.settings(cast("dict[str, Any]", arguments))
        return Worker(
            partial(self._workplace, settings.queues),
            WorkerSettings(
                concurrency=settings.concurrency,
                threads=settings.threads,
                lease=settings.lease,
                grace=settings.grace,
            ),
        )

    def using(self, url: str) -> AbstractContextManager[None]:
        """
        Use another store until the block ends, for tests: `with tasks.using("memory://"):` gives a fresh one.

        The URL counts more than the argument of this Fifoq and the environment; all other settings stay. Afterwards the
        store of before is there again, with its jobs. Raises ConfigurationError if the Fifoq is open.
        """
        return self._connection.using(url)

    async def __aenter__(self) -> Self:
        await self._connection.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.release()

    def __repr__(self) -> str:
        try:
            url = redacted(self._connection.settings().url)
        except ConfigurationError:
            url = "a URL that cannot be read"
        return f"<Fifoq on {url}: {len(self.tasks)} tasks, {'open' if self.is_open else 'not open'}>"

    def _register(self, settings: TaskSettings, function: Callable[..., Any]) -> AnyTask:
        task = self._registry.add_task(function, settings, self._connection)
        self._connection.write_new_settings()
        return task

    @asynccontextmanager
    async def _workplace(self, queues: tuple[str, ...] | None) -> AsyncGenerator[Workplace, None]:
        definitions = self._registry.definitions_of(queues)
        async with self._connection.acquired() as opened, self._resources() as resources:
            store = self._connection.store
            # The scheme of a store that lives in one process. Stores of third parties are none.
            shut_off = store.lower().startswith("memory:") and self._connection.users == 1
            yield Workplace(opened.backend, definitions, resources, store, self._connection, shut_off)

    @asynccontextmanager
    async def _resources(self) -> AsyncGenerator[Any, None]:
        if self._lifespan is None:
            yield None
            return
        entered = self._lifespan(self) if _takes_fifoq(self._lifespan) else self._lifespan()
        if not hasattr(entered, "__aenter__"):
            raise ConfigurationError(
                f"lifespan= returned a {type(entered).__name__}; it returns an async context manager. "
                "Is @asynccontextmanager missing above it?"
            )
        async with entered as resources:
            yield resources


def _takes_fifoq(lifespan: Lifespan) -> bool:
    """Whether it has a parameter that must be given; a parameter with a default is not filled in."""
    parameters = inspect.signature(lifespan).parameters.values()
    return any(
        each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        for each in parameters
    )
