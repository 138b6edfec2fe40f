"""One run of a job in a worker: its lease, how its function is called, and where it runs. It imports no queue."""

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol

from fifoq.errors import InvalidArguments
from fifoq.record import Lease, Outcome
from fifoq.task.definition import TaskDefinition
from fifoq.task.waiting import PlacedJob, waits

RUNAWAY = 15.0
"""Seconds after which a stopping process has ended, even if a function in it does not stop."""


class Stop(Enum):
    """Why a job is stopped before its end."""

    CANCEL = "it was cancelled"
    TIMEOUT = "its time is over"
    SHUTDOWN = "the worker shuts down"
    UNREACHABLE = "its lease is about to end, and the backend cannot be reached"
    LOST = "its lease was lost"


class Run:
    """One attempt at one job, from its claim to its settlement."""

    # Attributes that most runs never set are defaults of the class: such a run costs less to make than one with slots
    # or a dataclass.
    task: asyncio.Task[None] | None = None
    taken_at = 0.0
    """When it was given to the executor (`time.monotonic()`)."""
    started = False
    """The executor has begun with it: an asyncio task that is cancelled before never reports an outcome."""
    ended = False
    """It has its outcome, or none counts any more; at most the writing is left."""
    stopped: Stop | None = None
    timer: asyncio.TimerHandle | None = None
    seconds = 0.0
    """For how long it ran, once it has ended."""
    error: BaseException | None = None
    """The exception whose text its outcome has, until that is logged."""
    progress: bytes | None = None
    written: bytes | None = None
    """The progress that the backend has stored."""
    runner_state: Any = None
    """Private to its runner."""

    def __init__(
        self, queue: str, settle: Callable[["Run", Outcome], None], plan: "Plan", lease: Lease, deadline: float
    ) -> None:
        self.queue = queue
        """The queue's name."""
        self.settle = settle
        """Has the outcome written."""
        self.plan = plan
        self.lease = lease
        self.deadline = deadline
        """When the lease can end at the earliest (`time.monotonic()`): it counts from before its call was sent."""

    @property
    def job(self) -> PlacedJob:
        """The job, as a wait sees it."""
        return PlacedJob.of(self.plan.connection, self.queue, self.lease.spec)

    @property
    def above(self) -> Sequence[PlacedJob]:
        """Waits for it in other processes are not seen."""
        return ()

    def waits(self, target: PlacedJob, begins: bool) -> None:
        """Its waits are noted in this process already."""

    def notes_wait(self, begins: bool, target: Sequence[Any]) -> None:
        """Note that its function in a child process begins or ceases to wait for another job."""
        placed = PlacedJob(self.plan.connection, *target)
        if begins:
            waits.begin(self.job, placed)
        else:
            waits.end(self.job, placed)

    def begin(self, at_least: float = 0.0) -> None:
        """Start the timeout, once more if it has been started: the function starts now, or its child process does."""
        timeout = self.plan.timeout
        if timeout is not None and not self.ended:
            if self.timer is not None:
                self.timer.cancel()
            self.timer = asyncio.get_running_loop().call_later(max(timeout, at_least), self.stop, Stop.TIMEOUT)

    def stop(self, why: Stop) -> None:
        """Have the function end, on the worker's loop. The first reason stays, unless the lease is lost."""
        if self.ended or self.stopped is why:
            return
        if self.stopped is None or why is Stop.LOST:
            self.stopped = why
        if self.started:
            self.plan.runner.stop(self, why)

    def __repr__(self) -> str:
        return f"<Run of job {self.lease.spec.id} of task {self.plan.name!r} in {self.queue!r}>"


class Plan:
    """A task made ready to run: its definition and its runner, with the attributes that each run reads."""

    __slots__ = (
        "connection",
        "decode",
        "definition",
        "encode",
        "failures_kept",
        "function",
        "name",
        "results_kept",
        "runner",
        "takes_context",
        "timeout",
        "worker",
    )

    def __init__(
        self, definition: TaskDefinition, runner: "Runner", worker: str = "", connection: object = None
    ) -> None:
        self.definition = definition
        self.name = definition.name
        self.timeout = definition.timeout
        self.runner = runner
        self.worker = worker
        """The worker's name."""
        self.connection = connection
        """Of the Fifoq that the task belongs to. Only its identity counts here."""
        in_loop = definition.in_loop if definition.run_in == "loop" else None
        self.function: Callable[..., Any] = in_loop or definition.function
        self.decode: Callable[[bytes], tuple[tuple[Any, ...], dict[str, Any]]] = definition.signature.decode
        self.encode: Callable[[Any], bytes] = definition.signature.encode_result
        self.takes_context = definition.takes_context
        self.results_kept = definition.results_kept
        self.failures_kept = definition.failures_kept


class Runner(Protocol):
    """Runs the functions of jobs: in the event loop, in threads or in child processes."""

    width: int
    """How many jobs it takes at a time."""
    taken: int
    """How many jobs it has: claimed for it and not ended."""

    async def perform(self, run: "Run") -> bytes:
        """Rebuild the arguments, call the function, and return its result, encoded."""
        ...

    def stop(self, run: "Run", why: Stop) -> None:
        """Have the function end as soon as possible."""
        ...

    def abandon(self, run: "Run") -> float:
        """Give up a function that did not stop; return for how many seconds it may still run."""
        ...

    def close(self) -> None:
        """End idle threads and processes, and busy ones as far as they can be ended."""
        ...


# ---- errors of a run ----


class Unreadable(Exception):
    """The arguments of a stored job cannot be rebuilt. Another try would not help."""


class ResultNotSendable(Exception):
    """The result of a function cannot be stored. The work is done: another try would do it twice."""


class RemoteError(Exception):
    """An exception that was raised in a child process, as text. `kinds` are the full names of its classes."""

    def __init__(self, type: str, message: str, trace: str, kinds: tuple[str, ...]) -> None:
        super().__init__(message)
        self.type = type
        self.trace = trace
        self.kinds = kinds


class ProcessDied(Exception):
    """The child process died that ran the job."""


# ---- reading arguments and writing results ----


def read(decode: Any, payload: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Rebuild the arguments. Raises Unreadable."""
    try:
        return decode(payload)
    except Exception as error:
        raise Unreadable(_text(error)) from error


def write(encode: Any, value: Any) -> bytes:
    """Encode a result. Raises ResultNotSendable."""
    try:
        result: bytes = encode(value)
    except Exception as error:
        raise ResultNotSendable(
            f"The function returned, but its result, a {type(value).__name__}, cannot be sent: {_text(error)} "
            "Return plain data or a model, as the return annotation says, and requeue the job if it is safe to repeat."
        ) from error
    return result


_class_name = type.__dict__["__name__"].__get__
"""Reads the name of a class. `kind.__name__` may run code of the user's: that of a metaclass."""


def name_of(error: BaseException) -> str:
    """The name of the class of an exception."""
    return str(_class_name(type(error)))


def message_of(error: BaseException) -> str:
    """The text of an exception, even of one whose `__str__` is broken."""
    try:
        return str.__str__(str(error))  # of a subclass of str, only the text: its methods are the user's code
    except BaseException as broken:
        return f"(its text cannot be had: {type(broken).__name__})"


def _text(error: Exception) -> str:
    text = message_of(error)
    return text if isinstance(error, InvalidArguments) else f"{type(error).__name__}: {text}"
