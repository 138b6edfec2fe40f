"""The options of one call of a task, and how they are checked for the JobSpec."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple, TypedDict, cast
from uuid import UUID

from fifoq import codec
from fifoq.clock import MAX_SECONDS, microseconds, seconds_of
from fifoq.errors import InvalidArguments
from fifoq.names import check_name
from fifoq.task.keys import text_of


class TaskOptions(TypedDict, total=False):
    """The keywords of `Task.options`. Times are in seconds."""

    id: str | UUID
    """The job's id: a repeat with it enqueues nothing and finds the job that is there. Default: a new UUIDv7."""
    key: str | int | UUID | Enum
    """The key of the job, instead of the one that the task's `key=` gives."""
    delay: float | timedelta
    """How long it may not begin. It enters the line when it falls due, unless `in_line`."""
    at: datetime
    """The earliest time it may begin, as an aware datetime; instead of `delay`."""
    priority: int
    """−9 to 9, higher first; never within a key."""
    unique: str
    """While a job with this text is scheduled or live, the call finds that one instead of enqueueing another."""
    in_line: bool
    """With a delay: enter the line now, not when it falls due."""
    enqueue_timeout: float
    """How long to wait for room in a full queue, instead of being refused at once."""
    expires: float
    """How long after its enqueue it is cancelled, with the reason `expired`, if it has not begun."""
    meta: dict[str, str]
    """Texts that travel with the job: `ctx.meta`, `Job.meta`."""
    retain: float
    """How long the job is kept at least after it has ended; a longer `retain` of its task counts instead."""
    wait: float
    """How long `call` waits for the result."""
    owner: str
    """The owner of the job, for programs that show jobs to their owners only."""


class Options(NamedTuple):
    """Checked options. Durations are in microseconds, except those that never leave this process."""

    id: str | None = None
    key: str | None = None
    has_key: bool = False
    priority: int | None = None
    delay: int = 0
    at: datetime | None = None
    in_line: bool = False
    expires: int | None = None
    unique: str | None = None
    retain: int = 0
    owner: str | None = None
    meta: bytes = b""
    enqueue_timeout: float = 0.0
    """Seconds."""
    wait: float | None = None
    """Seconds; only for `call`."""


def read_options(given: TaskOptions) -> Options:
    """Check the keywords of `options`. Raises InvalidArguments, naming the wrong one."""
    unknown = given.keys() - TaskOptions.__annotations__.keys()
    if unknown:
        name = min(unknown)
        raise InvalidArguments(
            f"There is no option {name!r}; there are {', '.join(TaskOptions.__annotations__)}.", parameter=name
        )
    # None counts as not given, so that a caller can pass on a value that it may not have. But key=None means no key.
    given = cast(TaskOptions, {name: value for name, value in given.items() if value is not None or name == "key"})
    if "delay" in given and "at" in given:
        raise InvalidArguments("Give `delay` or `at`, not both.", parameter="at")
    return Options(**{name: value for each in (_texts, _times, _others) for name, value in each(given).items()})


def check_priority(priority: object) -> int:
    """Return `priority` if it is a legal one. Raises InvalidArguments."""
    if not isinstance(priority, int) or not -9 <= priority <= 9:
        raise InvalidArguments(f"A priority is a whole number from -9 to 9, not {priority!r}.", parameter="priority")
    return int(priority)


def seconds_until(at: datetime) -> float:
    """Return the seconds until an aware time, by this machine's clock; zero if it is past."""
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _texts(given: TaskOptions) -> dict[str, Any]:
    texts: dict[str, Any] = {}
    if "id" in given:
        texts["id"] = _id(given["id"])
    if "key" in given:
        texts |= {"key": text_of(given["key"], "key", "key"), "has_key": True}
    if "unique" in given:
        texts["unique"] = check_name("unique text", given["unique"])
    if "owner" in given:
        texts["owner"] = check_name("owner", given["owner"])
    return texts


def _id(id: object) -> str:
    if not isinstance(id, str | UUID):
        raise InvalidArguments(f"A job's id is a str or a UUID, not a {type(id).__name__}.", parameter="id")
    return check_name("job id", str(id))


def _times(given: TaskOptions) -> dict[str, Any]:
    times: dict[str, Any] = {
        name: _seconds(name, value) for name, value in given.items() if name in ("enqueue_timeout", "wait")
    }
    for name, value in given.items():
        if name in ("delay", "expires", "retain"):
            times[name] = microseconds(_seconds(name, value))
    if "at" in given:
        times["at"] = _aware(given["at"])
    return times


def _others(given: TaskOptions) -> dict[str, Any]:
    others: dict[str, Any] = {}
    if "priority" in given:
        others["priority"] = check_priority(given["priority"])
    if "in_line" in given:
        others["in_line"] = bool(given["in_line"])
    if given.get("meta"):
        others["meta"] = _meta(given.get("meta"))
    return others


def _seconds(name: str, value: object) -> float:
    try:
        return seconds_of(value.total_seconds() if isinstance(value, timedelta) else value)
    except ValueError as error:
        raise InvalidArguments(f"{name!r} {error}", parameter=name) from error


def _aware(at: object) -> datetime:
    if isinstance(at, datetime) and at.tzinfo is not None:
        if seconds_until(at) <= MAX_SECONDS:
            return at
        raise InvalidArguments(f"'at' is at most 100 years ahead, not {at!r}.", parameter="at")
    raise InvalidArguments(
        f"'at' is a datetime with a time zone, not {at!r}; for local time, write at.astimezone().", parameter="at"
    )


def _meta(meta: object) -> bytes:
    texts = cast("Mapping[object, object]", meta) if isinstance(meta, Mapping) else {None: None}
    if not all(isinstance(name, str) and isinstance(text, str) for name, text in texts.items()):
        raise InvalidArguments("'meta' maps texts to texts.", parameter="meta")
    try:
        return codec.check_size(codec.pack(dict(texts)), codec.MAX_TEXT, "meta")
    except codec.NotSendable as error:
        raise InvalidArguments(f"'meta' cannot be sent: {error}.", parameter="meta") from error
