"""A task: a function that can be called here and now, or enqueued for a worker, with the same arguments."""

from collections.abc import Callable, Coroutine, Sequence
from functools import WRAPPER_ASSIGNMENTS
from types import FunctionType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Protocol, Self, Unpack, cast, overload
from uuid import UUID

from typing_extensions import ParamSpec, TypeVar
from uuid_utils import uuid7

from fifoq.clock import SECOND, microseconds
from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq.names import check_name
from fifoq.record import JobSpec, fast_constructor
from fifoq.task.context import Context, DetachedContext
from fifoq.task.definition import TaskDefinition
from fifoq.task.handle import Connection, JobHandle, Origin
from fifoq.task.options import Options, TaskOptions, read_options, seconds_until
from fifoq.task.waiting import Holder, PlacedJob, refuse_deadlock, running, waiting_for

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T_co = TypeVar("T_co", covariant=True, default=Any)

AWAITED = 60 * SECOND
"""How long the job of a `call` is kept at least, in microseconds: also one of a task with `retain=0`."""
_NO_OPTIONS = Options()
_job_spec = fast_constructor(JobSpec)


class NewJob(Generic[R_co]):
    """A checked call that is not yet enqueued. `bind` makes it, `enqueue_many` takes it. Its id is fixed."""

    __slots__ = ("_at", "_spec", "origin", "wait")

    def __init__(self, origin: Origin, spec: JobSpec, options: Options) -> None:
        self.origin = origin
        self.wait = options.enqueue_timeout
        """Seconds to wait for room."""
        self._spec = spec
        self._at = options.at

    @property
    def id(self) -> str:
        """The id that the job will have."""
        return self._spec.id

    def spec(self) -> JobSpec:
        """Return the job to put, its delay counted from now."""
        at = self._at
        return self._spec if at is None else self._spec._replace(delay=microseconds(seconds_until(at)))


class Task(Generic[P, R_co, T_co]):
    """
    A registered function. Made by `@tasks.task`, never directly.

    Wherever the function could be given, the task can: it has the function's attributes, and `inspect` and `isinstance`
    take it for the function, async or not. Its signature leaves out the Context, as a plain call does.

    `await task(...)` or `task(...)` runs the function and enqueues nothing. `enqueue`, `call` and `bind` take the same
    arguments, check them against the function's types, and leave the work to a worker.
    """

    def __init__(self, definition: TaskDefinition, connection: Connection, given: TaskOptions | None = None) -> None:
        self.name = definition.name
        self.queue = definition.queue
        """The name of its queue."""
        self.definition = definition
        self.function: Callable[..., Any] = definition.function
        """The function as it was defined."""
        self.signature = definition.signature
        """How its arguments and its result are checked and sent."""
        self._connection = connection
        self._given: TaskOptions = given or {}
        self._options = read_options(given) if given else _NO_OPTIONS
        self._encode = definition.signature.encode
        self._origin = Origin(connection, self.queue, self.name, definition.signature)
        # One by one, and no __getattr__: an update of the instance's dict, or that method, would make each access to
        # an attribute slower, by 5 % of an enqueue.
        for name, value in definition.attributes.items():
            if not hasattr(self, name) or name in WRAPPER_ASSIGNMENTS:
                setattr(self, name, value)

    @property
    def connection(self) -> Connection:
        """The connection of its Fifoq."""
        return self._connection

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            # Starlette takes all but a function for an ASGI app; `inspect` asks in the same way.
            return FunctionType

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """Run the function here and now. If it takes the Context, it gets a detached one, without a worker."""
        if self.definition.takes_context:
            context = DetachedContext(self.queue, self._spec(args, kwargs, 0))
            return cast("T_co", self.function(context, *args, **kwargs))
        return cast("T_co", self.function(*args, **kwargs))

    async def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R_co]:
        """
        Enqueue a call and return its handle once the backend has it.

        Calls made from one Fifoq enter in the order in which they were made, even when awaited together. Raises
        InvalidArguments (naming the parameter) or PayloadTooLarge, QueueFull, IdConflict, or a BackendError.
        """
        if self._options.wait is not None:
            raise _needless_wait(self.name)
        spec = self._spec(args, kwargs, 0)
        ((id, created),) = await self._connection.producer(self.queue).put((spec,), self._options.enqueue_timeout)
        return JobHandle(self._origin, id, created)

    async def call(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """
        Enqueue a call, wait for it to end, and return its result.

        `options(wait=…)` bounds that wait in seconds, `options(enqueue_timeout=…)` the wait for room. Raises the errors
        of `enqueue` and of `JobHandle.result`. The job goes on after a timeout, or when the caller is cancelled. In a
        job, raises ConfigurationError if the new one could not begin before that one ends.
        """
        spec = self._spec(args, kwargs, AWAITED)
        if (holder := running.get()) is not None and not holder.ended:
            return await self._call_in_job(holder, spec)
        return await self._put_and_wait(spec)

    async def _call_in_job(self, holder: Holder, spec: JobSpec) -> R_co:
        """As `call`, in a job: a deadlock is refused before anything is enqueued, if the call makes a new job."""
        if self._options.id is not None or self._options.unique is not None:
            return await self._put_and_wait(spec)
        target = PlacedJob.of(self._connection, self.queue, spec)
        await refuse_deadlock(holder, target, "Nothing was enqueued.")
        with waiting_for(holder, target):
            return await self._put_and_wait(spec)

    async def _put_and_wait(self, spec: JobSpec) -> R_co:
        producer = self._connection.producer(self.queue)
        producer.expect(spec.id)
        ((id, created),) = await producer.put((spec,), self._options.enqueue_timeout)
        return await JobHandle(self._origin, id, created).result(self._options.wait)

    def bind(self, /, *args: P.args, **kwargs: P.kwargs) -> NewJob[R_co]:
        """Check a call and return it for `enqueue_many`. Raises InvalidArguments or PayloadTooLarge."""
        if self._options.wait is not None:
            raise _needless_wait(self.name)
        return NewJob(self._origin, self._spec(args, kwargs, 0), self._options)

    def enqueue_sync(self, /, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R_co]:
        """As `enqueue`, from a thread: a `def` route, a sync task, a script. Raises on the loop's own thread."""
        return self._connection.run(lambda: self.enqueue(*args, **kwargs))

    def call_sync(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """As `call`, from a thread: a `def` route, a sync task, a script. Raises on the loop's own thread."""
        return self._connection.run(lambda: self.call(*args, **kwargs))

    def options(self, **options: Unpack[TaskOptions]) -> Self:
        """
        Return this task with options for the calls made through it; later ones overrule earlier ones.

            await save_stats.options(delay=10, priority=5).enqueue("m1", tick=3, goals=1)

        Raises InvalidArguments, naming the wrong option.
        """
        if "key" in options and self.definition.ordered:
            raise ConfigurationError(
                f"Queue {self.queue!r} is ordered: all its jobs are one line, and have no own key."
            )
        given = cast(TaskOptions, {**self._given, **options})
        return type(self)(self.definition, self._connection, given)

    def handle(self, id: str | UUID) -> JobHandle[R_co]:
        """
        Return the handle of a job of this task by its id, a str or a UUID. Any process may do so.

        Raises InvalidArguments if no job can have that id.
        """
        return JobHandle(self._origin, check_name("job id", str(id)), False)

    def _spec(self, args: tuple[Any, ...], kwargs: dict[str, Any], retain: int) -> JobSpec:
        """Check a call and return its job. `retain`: how long it is kept at least, in microseconds."""
        definition, options = self.definition, self._options
        payload, by_name = self._encode(args, kwargs)
        read_key, read_value = definition.read_key, definition.read_value
        key = options.key if options.has_key or read_key is None else read_key(by_name)
        value = None if read_value is None else read_value(by_name)
        if retain < definition.results_kept:
            retain = definition.results_kept
        if options is _NO_OPTIONS:
            id = str(uuid7())
            return _job_spec(
                (id, self.name, payload, key, value, definition.priority, 0, False, None, None, retain, None, b"")
            )
        return _job_spec(
            (
                options.id or str(uuid7()),
                self.name,
                payload,
                key,
                value,
                definition.priority if options.priority is None else options.priority,
                options.delay if options.at is None else microseconds(seconds_until(options.at)),
                options.in_line,
                options.expires,
                options.unique,
                max(retain, options.retain),
                options.owner,
                options.meta,
            )
        )

    def __reduce__(self) -> str:
        # By name, as functions are pickled: a child process finds the task of that name in the module.
        return self.function.__qualname__

    def __repr__(self) -> str:
        return f"<Task {self.name!r} in {self.queue!r}: {self.definition.promise}>"


def _needless_wait(task: str) -> ConfigurationError:
    return ConfigurationError(
        f"options(wait=…) bounds the wait for a result, so it goes with call. To enqueue {task!r} and wait later, "
        "leave it out and write handle.result(timeout=…)."
    )


# ---- batches ----


async def put_batch(connection: Connection, jobs: Sequence[NewJob[R]]) -> list[JobHandle[R]]:
    """Put bound calls of one queue as one batch; see `Fifoq.enqueue_many`."""
    if not jobs:
        return []
    queues = {job.origin.queue for job in jobs}
    if len(queues) > 1:
        raise InvalidArguments(
            f"A batch is of one queue, because it enters as a whole; these are of {', '.join(sorted(queues))}. "
            "Enqueue one batch per queue."
        )
    foreign = next((job for job in jobs if job.origin.connection is not connection), None)
    if foreign is not None:
        raise InvalidArguments(f"Task {foreign.origin.task!r} belongs to another Fifoq. Enqueue its calls there.")
    wait = max(job.wait for job in jobs)
    receipts = await connection.producer(queues.pop()).put([job.spec() for job in jobs], wait)
    return [JobHandle(job.origin, receipt.id, receipt.created) for job, receipt in zip(jobs, receipts, strict=True)]


# ---- types of the decorator ----


class _Guard: ...


class First(Protocol[P, R_co]):
    """
    A function whose first parameter accepts any type, so that it cannot be the Context.

    Without this guard, a first parameter typed Any or object would be taken for the Context and lost.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, _: _Guard, /, *args: Any, **kwargs: Any) -> Any: ...


class TaskDecorator(Protocol):
    """The decorator that `@tasks.task(...)` returns."""

    @overload
    def __call__(self, function: First[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: First[P, R], /) -> Task[P, R, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R, R]: ...
