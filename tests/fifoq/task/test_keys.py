"""A job's key, and the value that a limit is by, are read from its arguments."""

from typing import Any
from uuid import UUID

import pytest

from fifoq import Limit
from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq.limits import GateSettings
from tests.fifoq.task.conftest import Colour, play, put_one, task_of


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
async def test_a_value_that_cannot_be_a_key_is_refused_at_enqueue(
    key: Any, args: Any, parameter: str, message: str
) -> None:
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
