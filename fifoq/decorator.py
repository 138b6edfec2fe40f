"""The types of `@tasks.task`: a task has exactly the function's parameters and result, the Context left out."""

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Protocol, overload

from typing_extensions import ParamSpec, TypeVar

from fifoq.context import Context
from fifoq.task import Task

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class _Guard: ...


class First(Protocol[P, R_co]):
    """
    A function whose first parameter takes anything: it does not ask for the Context.

    Without this guard, a first parameter typed Any or object would be taken for the Context and lost.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, _: _Guard, /, *args: Any, **kwargs: Any) -> Any: ...


class TaskDecorator(Protocol):
    """What `@tasks.task(...)` returns."""

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
