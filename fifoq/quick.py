"""Named tuples at half the cost: their own constructor is written in Python, and some are made for every job."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar, cast

T = TypeVar("T", bound=tuple[Any, ...])


def quick(kind: type[T]) -> Callable[[Iterable[Any]], T]:
    """A constructor of that named tuple from all of its values, in order: 0.1 µs instead of 0.2 µs, and unchecked."""
    return cast("Callable[[Iterable[Any]], T]", partial(cast(Any, tuple).__new__, kind))
