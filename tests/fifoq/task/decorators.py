"""Decorators of every common form, in a module that knows none of the names that their functions' annotations use."""

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def passes_on(function: Function) -> Function:
    """A plain def, around async functions too: it returns their coroutine."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def awaits(function: Function) -> Function:
    """An async def, around plain functions too."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    return wrapper


def in_a_thread(function: Function) -> Function:
    """An async def that runs a plain function elsewhere."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        value = await asyncio.to_thread(function, *args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    return wrapper


def with_settings(times: int = 1) -> Callable[[Function], Function]:
    """A decorator that is made by a call."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for _ in range(times - 1):
                pass
            return function(*args, **kwargs)

        return wrapper

    return decorate


def partly(function: Function) -> Function:
    """Around a partial."""
    inner = functools.update_wrapper(functools.partial(function), function)

    @functools.wraps(inner)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    return wrapper


def signed(function: Function) -> Function:
    """It states its signature, as decorators do that add or drop parameters."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    vars(wrapper)["__signature__"] = inspect.signature(function)
    return wrapper


def marked(function: Function) -> Function:
    """It returns the function itself."""
    vars(function)["mark"] = True
    return function


DECORATORS = [passes_on, awaits, in_a_thread, with_settings(2), partly, signed, marked]
