"""Tasks: what registration refuses, what a call becomes, and what a plain call does."""

import enum
import functools
import pickle
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from fifoq import Context, Fifoq, JobHandle, Limit, Rate, Retry, Task
from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq.limits import GateSettings
from fifoq.queue import Queue, Receipt
from fifoq.record import JobSpec
from fifoq.task import context as context_module
from fifoq.task.definition import TaskSettings, define
from fifoq.task.handle import Producer
from fifoq.task.task import AWAITED


class FakeConnection:
    """Takes what is put, and answers that it was made."""

    def __init__(self) -> None:
        self.specs: list[JobSpec] = []
        self.waits: list[float] = []

    def producer(self, queue: str) -> Producer:
        return self

    async def put(self, batch: Sequence[JobSpec], wait: float = 0.0) -> tuple[Receipt, ...]:
        self.specs += batch
        self.waits.append(wait)
        return tuple(Receipt(spec.id, True) for spec in batch)

    def queue(self, name: str) -> Queue:
        raise AssertionError

    def run(self, work: Callable[[], Any]) -> Any:
        raise AssertionError


@pytest.fixture
def connection() -> FakeConnection:
    return FakeConnection()


def task_of(function: Callable[..., Any], connection: Any = None, *, ordered: bool = False, **settings: Any) -> Any:
    return Task(define(function, TaskSettings(**settings), ordered=ordered), connection or FakeConnection())


class Colour(enum.Enum):
    RED = "red"


async def play(match_id: str, player: int = 7, at: float = 0.0) -> int:
    return player


async def put_one(task: Any, *args: Any, **kwargs: Any) -> JobSpec:
    await task.enqueue(*args, **kwargs)
    return task._connection.specs[-1]


# -- keys and limits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (None, None),
        ("match_id", "m1"),
        ("player", "3"),
        ("{match_id}:{player}", "m1:3"),
        ("match/{match_id}", "match/m1"),
        ("{{{player}}}", "{3}"),
        (lambda match_id: match_id.upper(), "M1"),
        (lambda player, match_id: (player, match_id)[0], "3"),
        (lambda **arguments: ",".join(sorted(arguments)), "at,match_id,player"),
        (lambda match_id, other=5: f"{match_id}{other}", "m15"),
        (lambda match_id: UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (lambda match_id: Colour.RED, "red"),
        (lambda match_id: None, None),
    ],
)
async def test_a_key_is_read_from_the_arguments(key: Any, expected: str | None) -> None:
    assert (await put_one(task_of(play, key=key), "m1", "3")).key == expected


async def test_a_key_of_the_same_text_is_the_same_key_whatever_its_type() -> None:
    async def by_int(key: int) -> None: ...
    async def by_enum(key: Colour | None) -> None: ...

    assert (await put_one(task_of(by_int, key="key"), "7")).key == "7"
    assert (await put_one(task_of(by_enum, key="key"), "red")).key == "red"
    assert (await put_one(task_of(by_enum, key="key"), None)).key is None


@pytest.mark.parametrize(
    ("key", "args", "parameter", "message"),
    [
        ("at", ("m",), "at", "gave a float"),
        ("match_id", ("",), "key", "1 to 128 characters"),
        ("match_id", ("m" * 129,), "key", "1 to 128 characters"),
        ("match_id", ("a\nb",), "key", "control characters"),
        ("{match_id}:{at}", ("m",), "at", "gave a float"),
        ("{match_id}", ("m" * 129,), "key", "1 to 128 characters"),
        (lambda match_id: 1 / 0, ("m",), "key", "failed: ZeroDivisionError"),
        (lambda match_id: [1], ("m",), "key", "gave a list"),
    ],
)
async def test_what_cannot_be_a_key_is_refused_at_enqueue(key: Any, args: Any, parameter: str, message: str) -> None:
    with pytest.raises(InvalidArguments, match=message) as caught:
        await put_one(task_of(play, key=key), *args)
    assert caught.value.parameter == parameter


async def test_a_part_of_a_key_cannot_be_none() -> None:
    async def task(a: str | None, b: str) -> None: ...

    with pytest.raises(InvalidArguments, match="'a' is a part of the job's key"):
        await put_one(task_of(task, key="{a}:{b}"), None, "x")


async def test_a_limit_by_an_argument_gives_the_job_its_value() -> None:
    async def task(tenant: str | None, shard: int | None = None) -> None: ...

    one = task_of(task, limit=[Limit(320), Limit(2, by="tenant")])
    assert one.definition.gates == GateSettings(limit=320, value_limit=2)
    assert (await put_one(one, "acme")).value == "acme"
    assert (await put_one(one, None)).value is None
    two = task_of(task, limit=Limit(2, by=("tenant", "shard")))
    texts = {(await put_one(two, *args)).value for args in [("a", 1), ("a", None), ('a",1', None), (None, 1), ("a",)]}
    assert texts == {'["a","1"]', '["a",null]', '["a\\",1",null]', '[null,"1"]'}
    assert (await put_one(two, None)).value is None


async def test_all_jobs_of_an_ordered_queue_are_one_line() -> None:
    task = task_of(play, queue="scores", ordered=True)
    assert {(await put_one(task, id)).key for id in "abc"} == {"scores"}
    with pytest.raises(ConfigurationError, match="'scores' is ordered"):
        task.options(key="x")


# -- registration ------------------------------------------------------------------------------------------------------


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
def test_what_cannot_be_a_task_is_refused(function: Any, message: str) -> None:
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


def test_settings_stand_for_values() -> None:
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
def test_a_task_says_what_it_promises(settings: dict[str, Any], promise: str) -> None:
    task = task_of(play, **settings)
    assert task.definition.promise == promise
    assert promise in repr(task)


def test_where_a_function_runs_follows_from_what_it_is() -> None:
    assert task_of(play).definition.run_in == "loop"
    assert task_of(with_context).definition.run_in == "thread"
    assert task_of(play, run_in="process").definition.run_in == "process"


def test_two_tasks_of_one_name_are_refused_with_both_places() -> None:
    tasks = Fifoq("memory://")
    tasks.task(play)
    with pytest.raises(ConfigurationError, match=r"named 'play': .*play and .*play"):
        tasks.task(queue="other")(play)
    tasks.task(name="play again")(play)
    assert list(tasks.tasks) == ["play", "play again"]


def test_a_queue_is_declared_once_before_its_tasks_if_it_is_ordered() -> None:
    tasks = Fifoq("memory://")
    tasks.queue("a", limit=3)
    with pytest.raises(ConfigurationError, match="declared twice"):
        tasks.queue("a")
    tasks.task(queue="b")(play)
    with pytest.raises(ConfigurationError, match=r"after its tasks \(play\)"):
        tasks.queue("b", ordered=True)
    with pytest.raises(ConfigurationError, match="by an argument"):
        tasks.queue("c", limit=Limit(1, by="x"))
    with pytest.raises(ConfigurationError, match="no braces"):
        tasks.queue("{c}")
    assert tasks.queues == ("a", "b")


# -- calls -------------------------------------------------------------------------------------------------------------


async def test_a_call_becomes_a_job(connection: FakeConnection) -> None:
    task = task_of(play, connection, key="match_id", priority=2, retain=5)
    handle = await task.enqueue("m1", player=3)
    (spec,) = connection.specs
    assert spec == JobSpec(
        id=handle.id,
        task="play",
        payload=task.signature.encode(("m1", 3), {}).payload,
        key="m1",
        priority=2,
        retain=5_000_000,
    )
    assert isinstance(handle, JobHandle)
    assert handle.created
    assert UUID(handle.id).version == 7


async def test_ids_are_made_in_order(connection: FakeConnection) -> None:
    task = task_of(play, connection)
    ids = [(await task.enqueue("m")).id for _ in range(1_000)]
    assert ids == sorted(set(ids))


async def test_options_go_into_the_job(connection: FakeConnection) -> None:
    task = task_of(play, connection, key="match_id").options(
        id=UUID(int=1),
        key=5,
        delay=timedelta(seconds=1.5),
        priority=-9,
        unique="u",
        in_line=True,
        expires=60,
        meta={"a": "b"},
        owner="me",
        enqueue_timeout=0.25,
    )
    await task.enqueue("m")
    (spec,) = connection.specs
    assert spec._replace(payload=b"") == JobSpec(
        id=str(UUID(int=1)),
        task="play",
        payload=b"",
        key="5",
        priority=-9,
        delay=1_500_000,
        in_line=True,
        expires=60_000_000,
        unique="u",
        retain=3_600_000_000,
        owner="me",
        meta=b"\x81\xa1a\xa1b",
    )
    assert connection.waits == [0.25]


async def test_later_options_overrule_earlier_ones_and_leave_the_task_alone(connection: FakeConnection) -> None:
    task = task_of(play, connection, key="match_id")
    tuned = task.options(priority=3, delay=1).options(priority=4)
    await tuned.enqueue("m")
    await task.enqueue("m")
    assert [(spec.priority, spec.delay) for spec in connection.specs] == [(4, 1_000_000), (0, 0)]


async def test_an_option_of_none_is_one_not_given_but_no_key_is_a_choice(connection: FakeConnection) -> None:
    task = task_of(play, connection, key="match_id").options(id=None, delay=None, key=None)
    spec = await put_one(task, "m")
    assert spec.key is None
    assert UUID(spec.id)


async def test_a_point_in_time_becomes_a_delay_when_it_is_put(connection: FakeConnection) -> None:
    task = task_of(play, connection)
    soon = await put_one(task.options(at=datetime.now(UTC) + timedelta(hours=1)), "m")
    assert 3_590_000_000 < soon.delay <= 3_600_000_000
    assert (await put_one(task.options(at=datetime(2000, 1, 1, tzinfo=UTC)), "m")).delay == 0


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"id": ""}, "job id"),
        ({"id": 7}, "id"),
        ({"key": 1.5}, "key"),
        ({"delay": -1}, "delay"),
        ({"delay": float("nan")}, "delay"),
        ({"delay": "soon"}, "delay"),
        ({"delay": 1, "at": datetime.now(UTC)}, "at"),
        ({"at": datetime(2026, 1, 1)}, "at"),
        ({"at": 12}, "at"),
        ({"priority": 10}, "priority"),
        ({"priority": 1.0}, "priority"),
        ({"unique": "a\0"}, "unique text"),
        ({"expires": -1}, "expires"),
        ({"meta": {"a": 1}}, "meta"),
        ({"meta": ["a"]}, "meta"),
        ({"meta": {"a": "\ud800"}}, "meta"),
        ({"meta": {"a": "x" * 5_000}}, None),
        ({"enqueue_timeout": -1}, "enqueue_timeout"),
        ({"wait": -1}, "wait"),
        ({"colour": 1}, "colour"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], parameter: str | None) -> None:
    with pytest.raises(InvalidArguments) as caught:
        task_of(play).options(**options)
    assert caught.value.parameter == parameter


async def test_a_wait_without_call_is_refused(connection: FakeConnection) -> None:
    task = task_of(play, connection).options(wait=5)
    with pytest.raises(ConfigurationError, match="goes with call"):
        await task.enqueue("m")
    with pytest.raises(ConfigurationError, match="goes with call"):
        task.bind("m")
    assert connection.specs == []


def test_a_job_that_is_awaited_is_kept_a_while() -> None:
    task = task_of(play, retain=0)
    assert task._spec(("m",), {}, AWAITED).retain == 60_000_000
    assert task._spec(("m",), {}, 0).retain == 0
    assert task_of(play)._spec(("m",), {}, AWAITED).retain == 3_600_000_000


async def test_an_option_keeps_a_job_longer_than_its_task_does_and_never_shorter(connection: FakeConnection) -> None:
    for own, asked, kept in [(0, 60, 60), (None, 60, 3_600), (120, 7_200, 7_200)]:
        await task_of(play, connection, retain=own).options(retain=asked).enqueue("m")
        assert connection.specs[-1].retain == kept * 1_000_000
    with pytest.raises(InvalidArguments, match="'retain' is a number of seconds"):
        task_of(play, connection).options(retain=-1)


def test_a_bound_call_is_checked_at_once_and_keeps_its_id() -> None:
    task = task_of(play)
    bound = task.bind("m")
    assert bound.spec() is bound.spec()
    assert bound.id == bound.spec().id
    with pytest.raises(InvalidArguments):
        task.bind()


async def test_a_plain_call_runs_the_function(connection: FakeConnection) -> None:
    assert await task_of(play, connection)("m", 4) == 4
    assert connection.specs == []


async def test_a_plain_call_gets_a_detached_context() -> None:
    def sync(ctx: Context, a: int) -> tuple[Any, ...]:
        ctx.progress(1, 2)
        return ctx.attempt, ctx.fence, ctx.cancelled, ctx.resources, ctx.meta, ctx.job.kwargs, ctx.job.task

    async def coroutine(ctx: Context, a: int) -> int:
        await ctx.progress(1)
        return a

    assert task_of(sync)(3) == (1, 0, False, None, {}, {"a": 3}, "sync")
    assert task_of(sync).options(meta={"x": "y"})(3)[4] == {"x": "y"}
    assert await task_of(coroutine)(a=3) == 3


def test_a_parameter_may_have_any_name() -> None:
    def task(self: int, task: int, args: int, function: int) -> int:
        return self + task + args + function

    wrapped = task_of(task)
    assert wrapped(self=1, task=2, args=3, function=4) == 10
    assert wrapped.bind(self=1, task=2, args=3, function=4).id


module_tasks = Fifoq("memory://")


@module_tasks.task
def importable(a: int) -> int:
    """Its own words."""
    return a


def test_a_task_is_documented_and_pickled_like_its_function() -> None:
    assert importable.__doc__ == "Its own words."
    assert importable.__name__ == "importable"
    assert importable.__module__ == __name__
    assert pickle.loads(pickle.dumps(importable)) is importable
