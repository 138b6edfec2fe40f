"""A task is read as its innermost function is written, whatever decorates it, wherever that is defined."""

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from fifoq import Context, Fifoq
from fifoq.errors import ConfigurationError
from fifoq.task.parameters import FunctionView
from tests.fifoq.task import postponed, written
from tests.fifoq.task.decorators import DECORATORS, awaits, passes_on

Function = Callable[..., Any]


class Order(BaseModel):
    """Of the same name as that of the tasks, in another module."""

    other: str


class Module(Protocol):
    FUNCTIONS: list[Function]
    Order: type[BaseModel]


def here(function: Function) -> Function:
    """A decorator in a module where `Order` is another class."""

    @functools.wraps(function)
    def wrapper(order: Order, *args: Any, **kwargs: Any) -> Any:
        return function(order, *args, **kwargs)

    return wrapper


decorations = st.lists(st.sampled_from([*DECORATORS, here]), max_size=3)


def decorated(function: Function, decorators: list[Function]) -> Function:
    return functools.reduce(lambda inner, decorate: decorate(inner), decorators, function)


async def run(function: Function, order: BaseModel) -> Any:
    tasks = Fifoq("memory://")
    task = tasks.task(name="task", retry=1)(function)
    async with tasks, tasks.worker():
        result = await task.options(wait=30).call(order, times=3)
        plain = task(order, times=3)
        assert (await plain if inspect.isawaitable(plain) else plain) == result
        return result


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([postponed, written]), st.integers(0, len(postponed.FUNCTIONS) - 1), decorations)
def test_a_decorated_function_is_registered_resolved_and_run_as_it_is_written(
    module: Module, number: int, decorators: list[Function]
) -> None:
    function = module.FUNCTIONS[number]
    # It passes the first argument on by position, whatever that is.
    decorators = [each for each in decorators if each is not here or "context" not in function.__name__]
    wrapped = decorated(function, decorators)
    bare, view = FunctionView(function), FunctionView(wrapped)
    assert view.takes_context() == bare.takes_context()
    skip_first = view.takes_context()
    parameters = view.parameters(skip_first=skip_first)
    assert parameters == bare.parameters(skip_first=skip_first)
    assert view.types(parameters) == bare.types(parameters)
    assert view.types(parameters)["order"] is module.Order
    assert asyncio.run(run(wrapped, module.Order(number=2))) == module.Order(number=6)


@pytest.mark.parametrize("decorate", [*DECORATORS, here])
@pytest.mark.parametrize(("function", "reason"), [*postponed.REFUSED, *written.REFUSED])
def test_a_decorated_function_that_cannot_be_a_task_is_refused_with_the_true_cause(
    decorate: Function, function: Function, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Fifoq("memory://").task(decorate(function))


@pytest.mark.parametrize("decorate", [passes_on, awaits])
def test_an_unresolvable_annotation_is_named_and_never_found_in_the_module_of_a_decorator(decorate: Function) -> None:
    def task(value: "DECORATORS_OF_NOWHERE") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    view = FunctionView(decorate(task))
    with pytest.raises(ConfigurationError, match=r"'value' in .*task cannot be resolved: name 'DECORATORS_OF_NOWHERE'"):
        view.types(view.parameters(skip_first=False))


def test_an_async_function_does_not_run_in_a_thread_however_decorated() -> None:
    async def work() -> None: ...

    with pytest.raises(ConfigurationError, match="is async"):
        Fifoq("memory://").task(run_in="thread")(passes_on(work))


def test_decorators_in_a_circle_are_refused() -> None:
    def work() -> None: ...

    wrapped = passes_on(work)
    vars(work)["__wrapped__"] = wrapped
    with pytest.raises(ConfigurationError, match="in a circle"):
        Fifoq("memory://").task(wrapped)


def test_a_decorator_that_hides_its_function_is_the_function() -> None:
    def hide(function: Function) -> Function:
        def wrapper(ctx: Context, *args: Any) -> Any:
            return function(*args)

        return wrapper

    task = Fifoq("memory://").task(hide(written.sync_pack))
    assert task.definition.takes_context
    assert [each.name for each in task.signature.parameters] == ["args"]
