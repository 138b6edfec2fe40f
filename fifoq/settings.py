"""Settings: an argument counts more than the environment, which counts more than the default. Read at open."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

from fifoq.clock import DURATION, seconds_of
from fifoq.codec import MAX_PAYLOAD
from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq.limits import COUNT, MOST
from fifoq.names import check_queue_name

MOST_BYTES = 2**28
"""The largest `max_payload`. Each store holds a value of that size."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a Fifoq. Times are in seconds."""

    url: str = "memory://"
    queues: tuple[str, ...] | None = None
    """The queues a worker works on; None: all queues that have tasks here."""
    concurrency: int = 100
    """Jobs that a worker runs at a time."""
    threads: int = 40
    """Of those, at most so many of functions that are not async."""
    lease: float = 15.0
    """For how long a claim holds; a worker extends it three times as often."""
    grace: float = 25.0
    """How long a stopping worker waits for its jobs to finish."""
    patience: float = 10.0
    """For how long an enqueue is tried again while the backend cannot be reached."""
    max_payload: int = MAX_PAYLOAD
    """Arguments and results of more bytes are refused."""

    @classmethod
    def read(cls, given: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> "Settings":
        """
        Read the settings from arguments, environment and defaults. An argument of None counts as not given.

        Raises ConfigurationError, naming the wrong argument or variable.
        """
        unknown = given.keys() - _SOURCES.keys()
        if unknown:
            raise ConfigurationError(f"There is no setting {min(unknown)!r}; there are {', '.join(_SOURCES)}.")
        values = {name: source.read(name, given.get(name), environment) for name, source in _SOURCES.items()}
        return cls(**{name: value for name, value in values.items() if value is not None})


class SettingArguments(TypedDict, total=False):
    """The settings that `Fifoq(...)` takes by keyword, beside the URL; see Settings."""

    queues: str | list[str] | tuple[str, ...] | None
    concurrency: int | None
    threads: int | None
    lease: float | None
    grace: float | None
    patience: float | None
    max_payload: int | None


class _Source(NamedTuple):
    """Where one setting comes from, and how it is read. `check` raises ValueError, which describes a right one."""

    variable: str
    check: Callable[[Any], Any]

    def read(self, name: str, given: Any, environment: Mapping[str, str]) -> Any:
        text = environment.get(self.variable, "")
        where, value = (f"{name}=", given) if given is not None else (f"The environment variable {self.variable}", text)
        if value == "" and given is None:
            return None
        try:
            return self.check(value)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"{where} {error}") from error


def _count(value: Any) -> int:
    try:
        number = int(value) if isinstance(value, str | int) else 0
    except ValueError:
        number = 0
    if not 1 <= number <= MOST:
        raise ValueError(f"is a whole number of {COUNT}, not {value!r}.")
    return number


def _bytes(value: Any) -> int:
    if not _count(value) <= MOST_BYTES:
        raise ValueError(f"is a number of bytes up to {MOST_BYTES}, not {value!r}.")
    return _count(value)


def _seconds(value: Any) -> float:
    try:
        return seconds_of(float(value) if isinstance(value, str) else value)
    except ValueError:
        raise ValueError(f"is {DURATION}, not {value!r}.") from None


def _above_zero(value: Any) -> float:
    seconds = _seconds(value)
    if seconds == 0:
        raise ValueError("is a number of seconds above zero.")
    return seconds


def _queues(value: Any) -> tuple[str, ...]:
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else list(value)
    try:
        return tuple(check_queue_name(name) for name in names if name != "")
    except InvalidArguments as error:
        raise ValueError(f"is a list of queue names: {error}") from error


def _url(value: Any) -> str:
    if not isinstance(value, str) or "://" not in value:
        # The value is not shown: it may contain a password.
        raise ValueError("is a URL like memory://, sqlite:///jobs.db or redis://localhost:6379/0.")
    return value


_SOURCES = {
    "url": _Source("FIFOQ_URL", _url),
    "queues": _Source("FIFOQ_QUEUES", _queues),
    "concurrency": _Source("FIFOQ_CONCURRENCY", _count),
    "threads": _Source("FIFOQ_THREADS", _count),
    "lease": _Source("FIFOQ_LEASE", _above_zero),
    "grace": _Source("FIFOQ_SHUTDOWN_GRACE", _seconds),
    "patience": _Source("FIFOQ_PATIENCE", _seconds),
    "max_payload": _Source("FIFOQ_MAX_PAYLOAD", _bytes),
}
