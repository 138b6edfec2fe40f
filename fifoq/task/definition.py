"""The definition of a task: its function and all its settings, checked when it is registered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypedDict

from fifoq.clock import microseconds, seconds_of
from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq.limits import GateSettings, Limit, Rate, read_limits
from fifoq.names import check_name, check_queue_name
from fifoq.retry import Retry
from fifoq.task.keys import KeyRule, Reader, check_attributes, describe_key, key_reader, value_reader
from fifoq.task.options import check_priority
from fifoq.task.parameters import FunctionView
from fifoq.task.signature import Signature

DEFAULT_QUEUE = "default"
RESULTS_KEPT = 3_600.0
"""Seconds for which a job is kept after it succeeded or was cancelled, by default."""
FAILURES_KEPT = 604_800.0
"""Seconds for which a job is kept after it failed, by default."""


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """One registered task: all that a worker needs to run it, and a call to become a job. Times are in seconds."""

    name: str
    queue: str
    function: Callable[..., Any]
    signature: Signature
    retry: Retry = field(default_factory=Retry)
    timeout: float | None = None
    max_crashes: int = 3
    halt: bool = False
    """A job that fails keeps its key closed (`after_failure="halt"`)."""
    results_kept: int = microseconds(RESULTS_KEPT)
    """Microseconds for which a job is kept after it succeeded or was cancelled."""
    failures_kept: int = microseconds(FAILURES_KEPT)
    """Microseconds for which a job is kept after it failed."""
    run_in: Literal["loop", "thread", "process"] = "loop"
    """Where it runs. Registration resolves `auto`: to the loop for an async function, else to a thread."""
    in_loop: Callable[..., Any] | None = None
    """The function as one to await; None if it is not async."""
    takes_context: bool = False
    promise: str = ""
    """The order of its jobs, for the worker's banner: "in order per match_id", "in order, one line", "oldest first"."""
    gates: GateSettings = field(default_factory=GateSettings)
    """Limits, rate and capacity, as the backend stores them."""
    read_key: Reader | None = None
    """Reads the ordering key of a call from its arguments; None: calls have no key."""
    read_value: Reader | None = None
    """Reads the value that the task's limit is `by`; None: no limit of the task is by an argument."""
    priority: int = 0
    ordered: bool = False
    """Its queue is one line, so no job has a key of its own."""
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The attributes that make the task look like its function, as those of `functools.wraps`."""


class TaskSettings(TypedDict, total=False):
    """The keywords of `@tasks.task`. Times are in seconds."""

    name: str
    """Default: the function's name."""
    queue: str
    """Default: `default`."""
    key: KeyRule
    """
    A parameter's name, a template of parameters and their attributes (`"{match_id}:{event.player}"`), or a callable
    that takes arguments by their names.
    """
    priority: int
    """−9 to 9, higher first."""
    limit: int | Limit | Sequence[Limit] | None
    """Jobs at a time, over all workers: of the task, and of each value of an argument (`Limit(2, by="tenant")`)."""
    rate: str | Rate | None
    """Starts in a time: `"100/s"`."""
    capacity: int | None
    """The most jobs scheduled, waiting or running; beyond it, `QueueFull`."""
    retry: int | Retry
    """The number of tries, the first included."""
    timeout: float | None
    """The longest time that one try may run."""
    max_crashes: int
    """The number of times that a worker may die, or lose its lease, with a job before the job fails."""
    after_failure: Literal["continue", "halt"]
    """Whether the next job of the key goes on after one failed for good, or waits until an operator decides."""
    retain: float | None
    """How long an ended job is kept. Default: an hour, or a week if it failed."""
    run_in: Literal["auto", "thread", "process"]
    """Where it runs. `auto`: an async function in the loop, any other in a thread."""


def define(function: Callable[..., Any], settings: TaskSettings, *, ordered: bool) -> TaskDefinition:
    """
    Check a function and its settings, and return the definition of the task. `ordered`: its queue is one line.

    Raises ConfigurationError, naming the fault. Types are not resolved yet: they may name classes defined later.
    """
    _check_names(settings)
    view = FunctionView(function)
    view.check()
    name = _name(function, settings)
    with_context = view.takes_context()
    signature = Signature(view, takes_context=with_context)
    rule = settings.get("key")
    signature.check_types = partial(check_attributes, rule, task=name)
    signature.check_types({each.name: each.annotation for each in signature.parameters})
    if settings.get("run_in") == "process":
        _check_importable(name, view)
    _check_order(name, rule, settings, ordered=ordered)
    queue = _checked(check_queue_name, settings.get("queue") or DEFAULT_QUEUE)
    retain = _duration("retain", settings.get("retain"))
    return TaskDefinition(
        name=name,
        queue=queue,
        function=function,
        signature=signature,
        retry=_retry(settings.get("retry")),
        timeout=_duration("timeout", settings.get("timeout"), above=True),
        max_crashes=_count("max_crashes", settings.get("max_crashes", 3)),
        halt=settings.get("after_failure") == "halt",
        results_kept=microseconds(RESULTS_KEPT if retain is None else retain),
        failures_kept=microseconds(FAILURES_KEPT if retain is None else retain),
        in_loop=view.in_loop() if view.is_async else None,
        run_in=_resolve_run_in(view, settings.get("run_in", "auto")),
        takes_context=with_context,
        promise=_promise(rule, ordered=ordered),
        gates=GateSettings.of(settings.get("limit"), settings.get("rate"), settings.get("capacity")),
        read_key=(lambda _: queue) if ordered else key_reader(rule, signature.parameters, name),
        read_value=value_reader(_by(settings), signature.parameters, name),
        priority=_checked(check_priority, settings.get("priority", 0)),
        ordered=ordered,
        attributes=view.attributes(skip_first=with_context),
    )


def _check_importable(name: str, function: FunctionView) -> None:
    """Check that a child process can find the function by its name."""
    if "<" in function.name:
        raise ConfigurationError(
            f'Task {name!r} has run_in="process", so a child process must be able to import its function, but '
            f"{function.name!r} is inside another function. Move it to the top level of a module."
        )


def _check_names(settings: TaskSettings) -> None:
    unknown = settings.keys() - TaskSettings.__annotations__.keys()
    if unknown:
        raise ConfigurationError(
            f"A task has no setting {min(unknown)!r}; it has {', '.join(TaskSettings.__annotations__)}."
        )


def _name(function: Callable[..., Any], settings: TaskSettings) -> str:
    name = settings.get("name") or function.__name__
    if name == "<lambda>":
        raise ConfigurationError("A lambda has no name that a worker could find it by. Give it one: name='...'.")
    return _checked(lambda text: check_name("task name", text), name)


def _check_order(name: str, rule: KeyRule, settings: TaskSettings, *, ordered: bool) -> None:
    after_failure = settings.get("after_failure", "continue")
    if after_failure not in ("continue", "halt"):
        raise ConfigurationError(f"after_failure is 'continue' or 'halt', not {after_failure!r}.")
    if ordered and rule is not None:
        raise ConfigurationError(
            f"The queue of task {name!r} is ordered, so all its jobs are one line; a key would contradict that. "
            "Leave out key=, or ordered=True."
        )
    if after_failure == "halt" and rule is None and not ordered:
        raise ConfigurationError(
            f"Task {name!r} has after_failure='halt' but no key, so there is nothing to hold. Give it a key=, or "
            "declare its queue with ordered=True first."
        )


def _promise(rule: KeyRule, *, ordered: bool) -> str:
    if ordered:
        return "in order, one line"
    return "oldest first" if rule is None else f"in order per {describe_key(rule)}"


def _retry(retry: int | Retry | None) -> Retry:
    if retry is None:
        return Retry()
    return retry if isinstance(retry, Retry) else Retry(attempts=_count("retry", retry))


def _resolve_run_in(function: FunctionView, run_in: str) -> Literal["loop", "thread", "process"]:
    match run_in:
        case "auto":
            return "loop" if function.is_async else "thread"
        case "process":
            return "process"
        case "thread" if not function.is_async:
            return "thread"
        case "thread":
            raise ConfigurationError(f"{function.name} is async, so it cannot run in a thread. Use def, or 'auto'.")
        case _:
            raise ConfigurationError(f"run_in is 'auto', 'thread' or 'process', not {run_in!r}.")


def _by(settings: TaskSettings) -> tuple[str, ...]:
    return next((limit.parameters for limit in read_limits(settings.get("limit")) if limit.by is not None), ())


def _count(name: str, value: object) -> int:
    if isinstance(value, int) and value >= 1:
        return int(value)
    raise ConfigurationError(f"{name} is a whole number of at least 1, not {value!r}.")


def _duration(name: str, value: object, *, above: bool = False) -> float | None:
    if value is None:
        return None
    try:
        seconds = seconds_of(value)
    except ValueError as error:
        raise ConfigurationError(f"{name} {error}") from error
    if above and seconds == 0:
        raise ConfigurationError(f"{name} is a number of seconds, above zero, not {value!r}.")
    return seconds


def _checked(check: Callable[[Any], Any], value: object) -> Any:
    """Return `check(value)`. A wrong declaration is a ConfigurationError: the code is wrong, not a caller."""
    try:
        return check(value)
    except InvalidArguments as error:
        raise ConfigurationError(str(error)) from error
