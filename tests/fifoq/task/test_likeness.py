"""A task can stand in its function's place: what asks of it, or calls it, finds no difference."""

import asyncio
import concurrent.futures
import copy
import functools
import inspect
import multiprocessing
import pickle
import threading
import types
import typing
from collections.abc import Callable
from typing import Any

import pytest

from fifoq import Context, Fifoq, Task
from fifoq.errors import ConfigurationError

tasks = Fifoq("memory://")
Function = Callable[..., Any]


def plain(a: int, b: str = "b", *, c: float = 0.5) -> str:
    """Its own words."""
    return f"{a}{b}{c}"


async def coroutine(a: int, b: str = "b") -> str:
    return f"{a}{b}"


def positional(a: int, /, *rest: int, **others: int) -> int:
    return a + sum(rest) + sum(others.values())


def unannotated(a, b=2):
    return a + b


def forward(a: "Later") -> "list[Later]":
    return [a]


def traced(function: Function) -> Function:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


class Later: ...


@traced
async def decorated(a: int) -> int:
    return a


def closed(n: int) -> Function:
    def closure(a: int) -> int:
        return a + n

    return closure


marked = closed(1)
marked.__dict__["mark"] = "a mark"  # pyright: ignore[reportFunctionMemberAccess]

FUNCTIONS: list[Function] = [
    plain,
    coroutine,
    positional,
    unannotated,
    forward,
    decorated,
    closed(3),
    marked,
    lambda a: a,
]
PREDICATES = [each for name, each in inspect.getmembers(inspect, inspect.isfunction) if name.startswith("is")]
QUESTIONS: list[Callable[[Any], Any]] = [
    *PREDICATES,
    asyncio.iscoroutinefunction,
    callable,
    inspect.signature,
    inspect.unwrap,
    inspect.getdoc,
    inspect.getcomments,
    inspect.getfile,
    inspect.getsource,
    inspect.getsourcefile,
    inspect.getsourcelines,
    inspect.getmodule,
    inspect.getfullargspec,
    inspect.getclosurevars,
    inspect.get_annotations,
    typing.get_type_hints,
    lambda each: inspect.iscoroutinefunction(functools.partial(each)),
    lambda each: inspect.signature(functools.partial(each, 1)),
    lambda each: inspect.signature(functools.wraps(each)(lambda *args: None)),
    lambda each: inspect.getcallargs(each, 1),
    lambda each: isinstance(each, types.FunctionType),
    lambda each: set(dir(plain)) - set(dir(each)),
    *(
        functools.partial(lambda name, each: getattr(each, name, None), name)
        for name in {*dir(types.FunctionType), "mark", *functools.WRAPPER_ASSIGNMENTS}
        if not callable(getattr(plain, name, None)) and name != "__dict__"
    ),
]


def task_of(function: Function) -> Any:
    return Fifoq("memory://").task(name="task")(function)


def answer(question: Callable[[Any], Any], asked: Any) -> Any:
    try:
        return question(asked)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
def test_every_question_has_the_same_answer(function: Function) -> None:
    task = task_of(function)
    for question in QUESTIONS:
        assert answer(question, task) == answer(question, function), question
    assert inspect.unwrap(task) is inspect.unwrap(function)
    assert task.__wrapped__ is function


def test_a_task_is_a_task_all_the_same() -> None:
    task = task_of(plain)
    assert isinstance(task, Task)
    assert copy.copy(task) is copy.deepcopy(task) is task
    assert len({task, task_of(plain)}) == 2
    with pytest.raises(AttributeError, match="enqeue"):
        task.enqeue(1)
    with pytest.raises(ConfigurationError, match="is a Task"):
        task_of(task)
    tuned = task.options(priority=3)
    assert inspect.signature(tuned) == inspect.signature(plain)


def test_the_signature_of_a_task_leaves_out_the_context() -> None:
    async def train(ctx: Context, model: str, *, epochs: int = 3) -> str:
        return f"{model}{epochs}{ctx.attempt}"

    task = task_of(train)
    assert str(inspect.signature(task)) == "(model: str, *, epochs: int = 3) -> str"
    assert inspect.iscoroutinefunction(task)
    assert asyncio.run(task("m")) == "m31"


def test_an_attribute_of_the_function_hides_none_of_the_task() -> None:
    def function() -> None: ...

    function.__dict__.update(enqueue="no", name="no", queue="no", definition="no")
    task = task_of(function)
    assert (task.name, task.queue) == ("task", "default")
    assert inspect.ismethod(task.enqueue)


# ---- where functions are taken ----


@tasks.task
def double(n: int) -> int:
    return 2 * n


@tasks.task
async def double_later(n: int) -> int:
    return 2 * n


def in_a_thread(task: Function) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda each: found.append(each(4)), args=(task,))
    thread.start()
    thread.join()
    return found[0]


def in_an_executor(task: Function) -> Any:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(task, 4).result()


def in_a_process(task: Function) -> Any:
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(task, 4).result()


TAKERS: list[Callable[[Any], Any]] = [
    in_a_thread,
    in_an_executor,
    in_a_process,
    lambda task: functools.partial(task, 4)(),
    lambda task: functools.lru_cache(task)(4),
    lambda task: functools.singledispatch(task)(4),
    lambda task: next(map(task, [4])),
    lambda task: asyncio.run(asyncio.to_thread(task, 4)),
    lambda task: pickle.loads(pickle.dumps(task))(4),
    lambda task: pickle.loads(pickle.dumps(functools.partial(task, 4)))(),
    lambda task: types.SimpleNamespace(call=task).call(4),
    lambda task: inspect.signature(task).bind(4) and task(4),
]


@pytest.mark.parametrize("taker", TAKERS)
def test_what_takes_a_function_takes_a_task(taker: Callable[[Any], Any]) -> None:
    assert taker(double) == 8


@pytest.mark.parametrize("taker", [taker for taker in TAKERS if taker is not in_a_process])
def test_what_takes_an_async_function_takes_its_task(taker: Callable[[Any], Any]) -> None:
    awaitable = taker(double_later)
    assert inspect.iscoroutine(awaitable)
    assert asyncio.run(awaitable) == 8
