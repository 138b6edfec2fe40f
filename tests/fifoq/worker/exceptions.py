"""All exception classes, some odd ones of its own, and functions that raise them. Child processes import this file."""

import asyncio
import types
from collections.abc import Generator
from enum import StrEnum
from typing import Any

from fifoq.errors import GiveUp, RetryAfter


class Moment(StrEnum):
    BEFORE = "before an await"
    AT = "at an await"
    AFTER = "after an await"


class OwnGeneratorExit(GeneratorExit): ...


class OwnCancelled(asyncio.CancelledError): ...


class OwnStopIteration(StopIteration): ...


class OwnExit(SystemExit): ...


class OwnBase(BaseException): ...


class ExitsAsText(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class _Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        raise KeyboardInterrupt

    def encode(self, *_: Any) -> bytes:
        raise GeneratorExit

    __format__ = __getitem__ = encode  # type: ignore[assignment]


class OddText(ValueError):
    def __str__(self) -> str:
        return _Text("odd")


class _Meta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise GeneratorExit


class Nameless(Exception, metaclass=_Meta): ...


class Liar(Exception):
    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise SystemExit(2)

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


class NoSeconds(RetryAfter):
    def __init__(self) -> None: ...


class OddSeconds(RetryAfter):
    def __init__(self) -> None: ...

    @property
    def seconds(self) -> float:  # type: ignore[override]
        raise KeyboardInterrupt


class NoReason(GiveUp):
    def __init__(self) -> None: ...


class Surrogates(Exception):
    def __str__(self) -> str:
        return "\ud800"


OWN = [
    OwnGeneratorExit,
    OwnCancelled,
    OwnStopIteration,
    OwnExit,
    OwnBase,
    ExitsAsText,
    OddText,
    Nameless,
    Liar,
    NoSeconds,
    OddSeconds,
    NoReason,
    Surrogates,
]


def classes() -> list[type[BaseException]]:
    """All classes of exceptions that are loaded now."""
    found: list[type[BaseException]] = [BaseException]
    for kind in found:
        found += [each for each in type.__subclasses__(kind) if each not in found]
    return found


def plain_classes() -> list[type[BaseException]]:
    """Those that each process has: Python's own and fifoq's, and the odd ones."""
    modules = ("builtins", "asyncio.exceptions", "fifoq.errors", __name__)
    return [kind for kind in classes() if kind.__module__ in modules]


def made(kind: type[BaseException]) -> BaseException:
    """An exception of that class, made by its constructor if that takes a usual argument, or none."""
    for arguments in ((), ("text",), ("text", [ValueError("inner")]), (1.0,)):
        try:
            return kind(*arguments)
        except BaseException:
            continue
    return kind.__new__(kind)


@types.coroutine
def at_an_await(error: BaseException) -> Generator[Any, Any, None]:
    yield from asyncio.sleep(0).__await__()
    raise error


async def raise_async(kind: type[BaseException], moment: Moment) -> None:
    if moment is Moment.AT:
        await at_an_await(made(kind))
    if moment is Moment.AFTER:
        await asyncio.sleep(0)
    raise made(kind)


def raise_plain(n: int) -> None:
    raise made(plain_classes()[n])


async def raise_plain_async(n: int, moment: Moment) -> None:
    await raise_async(plain_classes()[n], moment)


async def exit_below(n: int) -> None:
    """Exit in a task that the job makes."""

    async def leave() -> None:
        await asyncio.sleep(0)
        raise made(EXITS[n])

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(3600))
        group.create_task(leave())


EXITS: list[type[BaseException]] = [SystemExit, KeyboardInterrupt, OwnExit]
