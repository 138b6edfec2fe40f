"""A definition: functions and settings are checked when a task is registered."""

import functools
from typing import Any

import pytest

from fifoq import Context, Limit, Rate, Retry
from fifoq.errors import ConfigurationError
from fifoq.limits import GateSettings
from fifoq.task import context as context_module
from tests.fifoq.task.conftest import play, task_of


class Holder:
    def method(self, a: int) -> None: ...

    @classmethod
    def of_class(cls, a: int) -> None: ...

    @staticmethod
    def of_none(a: int) -> None: ...


def with_context(ctx: Context, a: int) -> None: ...


def context_last(a: int, ctx: Context) -> None: ...


def context_named(*, ctx: Context) -> None: ...


def context_or_none(ctx: Context | None, a: int) -> None: ...


def context_as_text(ctx: "Context", a: int) -> None: ...


def context_by_module(ctx: "context_module.Context", a: int) -> None: ...


def context_unresolvable(ctx: "elsewhere.Context", a: int) -> None: ...  # noqa: F821


def context_unresolvable_or_none(ctx: "elsewhere.Context | None", a: int) -> None: ...  # noqa: F821


def context_as_text_or_none(ctx: "Context | None") -> None: ...


def generator(a: int) -> Any:
    yield a


async def async_generator(a: int) -> Any:
    yield a


@pytest.mark.parametrize("function", [with_context, context_as_text, context_by_module, context_unresolvable])
def test_a_context_as_first_parameter_is_no_part_of_the_call(function: Any) -> None:
    task = task_of(function)
    assert task.definition.takes_context
    assert [parameter.name for parameter in task.signature.parameters] == ["a"]


@pytest.mark.parametrize(
    "function",
    [context_last, context_named, context_or_none, context_unresolvable_or_none, context_as_text_or_none],
)
def test_a_context_anywhere_else_or_optional_is_refused_at_registration(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="takes the Context as"):
        task_of(function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (Holder.method, "is a method"),
        (Holder().method, "is a method"),
        (Holder.of_class, "is a method"),
        (Holder(), "is a Holder"),
        (functools.partial(play, "m"), "is a partial"),
        (len, "is a builtin"),
        (Holder, "is a type"),
        (generator, "yields"),
        (async_generator, "yields"),
        (lambda: 1, "A lambda has no name"),
    ],
)
def test_an_object_that_cannot_be_a_task_is_refused(function: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        task_of(function)


def test_a_static_method_and_a_named_lambda_can_be_tasks() -> None:
    assert task_of(Holder.of_none).name == "of_none"
    assert task_of(lambda: 1, name="one").name == "one"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"key": "colour"}, "names 'colour', which is no parameter.*match_id, player, at"),
        ({"key": "{match_id}:{colour}"}, "names 'colour'"),
        ({"key": "{match_id.x}"}, "names of parameters in braces and nothing more"),
        ({"key": "{match_id!r}"}, "nothing more"),
        ({"key": "{player:03}"}, "nothing more"),
        ({"key": "{}"}, "nothing more"),
        ({"key": "{match_id"}, "no template"),
        ({"key": "{{all}}"}, "names no parameter"),
        ({"key": lambda colour: colour}, "names 'colour'"),
        ({"key": lambda match_id, /: match_id}, "by position only"),
        ({"limit": Limit(1, by="colour")}, "names 'colour'"),
        ({"limit": Limit(1, by=("player", "colour"))}, "names 'colour'"),
        ({"limit": 0}, "at least 1"),
        ({"rate": "often"}, "A rate reads like"),
        ({"capacity": 0}, "capacity is at least 1"),
        ({"retry": 0}, "retry is a whole number of at least 1"),
        ({"timeout": 0}, "timeout is a number of seconds, above zero"),
        ({"timeout": "5"}, "timeout is a number"),
        ({"retain": -1}, "retain is a number of seconds, zero or more"),
        ({"max_crashes": 0}, "max_crashes"),
        ({"after_failure": "stop"}, "'continue' or 'halt'"),
        ({"after_failure": "halt"}, "after_failure='halt' but no key"),
        ({"run_in": "moon"}, "run_in is"),
        ({"run_in": "thread"}, "is async, so it cannot run in a thread"),
        ({"priority": 10}, "from -9 to 9"),
        ({"name": "a\nb"}, "control characters"),
        ({"queue": "a{b}"}, "no braces"),
        ({"attempts": 3}, "no setting 'attempts'"),
    ],
)
def test_wrong_settings_are_refused_at_registration(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        task_of(play, **settings)


def test_a_variadic_parameter_is_no_key() -> None:
    def task(*rest: str) -> None: ...

    with pytest.raises(ConfigurationError, match="names 'rest'"):
        task_of(task, key="rest")


def test_an_ordered_queue_takes_no_key_and_may_halt() -> None:
    with pytest.raises(ConfigurationError, match="is ordered"):
        task_of(play, key="match_id", ordered=True)
    assert task_of(play, after_failure="halt", ordered=True).definition.halt


def test_plain_settings_stand_for_values() -> None:
    definition = task_of(play, limit=4, rate="100/s", capacity=9, retry=5, timeout=3, retain=10).definition
    assert definition.gates == GateSettings(limit=4, capacity=9, interval=10_000, burst=1)
    assert definition.retry == Retry(attempts=5)
    assert definition.results_kept == definition.failures_kept == 10_000_000
    assert task_of(play, rate=Rate(10, burst=3)).definition.gates == GateSettings(interval=100_000, burst=3)


@pytest.mark.parametrize(
    ("settings", "promise"),
    [
        ({}, "oldest first"),
        ({"key": "match_id"}, "in order per match_id"),
        ({"key": "{match_id}:{player}"}, "in order per {match_id}:{player}"),
        ({"ordered": True}, "in order, one line"),
    ],
)
def test_a_task_shows_its_promise_of_order(settings: dict[str, Any], promise: str) -> None:
    task = task_of(play, **settings)
    assert task.definition.promise == promise
    assert promise in repr(task)


def test_where_a_function_runs_follows_from_its_kind() -> None:
    assert task_of(play).definition.run_in == "loop"
    assert task_of(with_context).definition.run_in == "thread"
    assert task_of(play, run_in="process").definition.run_in == "process"
