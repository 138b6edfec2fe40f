"""Options of one call go into its job; wrong ones are refused by name."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from fifoq.errors import ConfigurationError, InvalidArguments
from fifoq.record import JobSpec
from tests.fifoq.task.conftest import FakeConnection, play, put_one, task_of


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


async def test_an_option_keeps_a_job_longer_than_its_task_does_and_never_shorter(connection: FakeConnection) -> None:
    for own, asked, kept in [(0, 60, 60), (None, 60, 3_600), (120, 7_200, 7_200)]:
        await task_of(play, connection, retain=own).options(retain=asked).enqueue("m")
        assert connection.specs[-1].retain == kept * 1_000_000
    with pytest.raises(InvalidArguments, match="'retain' is a number of seconds"):
        task_of(play, connection).options(retain=-1)
