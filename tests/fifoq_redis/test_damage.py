"""Records that were damaged field by field: the damage is that job's alone."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import msgpack
import pytest

from fifoq.testing import AsyncDriver, ManualClock
from fifoq_redis import RedisBackend
from fifoq_redis.audit import Job
from tests.damage import STAGES, Damage, broken_promises, groups
from tests.servers import Server

GARBAGE = (b"", b"\xc1\xc1", b"\x01\x02", b"\xdd\xff\xff\xff\xff", b"\x9d\xc0", b"text", bytes(range(256)), b"\xa5ab")
SPEC = ("id", "task", "key", "value", "priority", "delay", "in_line", "expires", "unique", "retain", "owner", "payload")
WRONG_TEXTS = (7, None, [1], True)
WRONG_NUMBERS = ("text", None, [1], 1.5, -77, 2**60)
NUMBERS = {"int", "int | None"}

Change = Callable[[Any, str, str], None]
"""Damages the record of a job: a client of the server, the prefix of the queue's keys, the id."""


def whole(key: str, content: bytes | None) -> Change:
    def change(client: Any, prefix: str, id: str) -> None:
        if content is None:
            client.hdel(prefix + key, id)
        elif client.hexists(prefix + key, id):
            client.hset(prefix + key, id, content)

    return change


def in_spec(index: int, content: object) -> Change:
    def change(client: Any, prefix: str, id: str) -> None:
        spec = msgpack.unpackb(client.hget(f"{prefix}specs", id))
        spec[index] = content
        client.hset(f"{prefix}specs", id, msgpack.packb(spec))

    return change


def in_job(index: int, content: object) -> Change:
    def change(client: Any, prefix: str, id: str) -> None:
        unpacker = cast(Any, msgpack).Unpacker(raw=True)
        unpacker.feed(client.hget(f"{prefix}jobs", id))
        values = list(unpacker)
        if index >= len(values):
            return
        values[index] = content
        packed = [msgpack.packb(value, use_bin_type=False) for value in values]
        client.hset(f"{prefix}jobs", id, b"".join(packed))

    return change


def damages() -> Iterator[tuple[str, Change, bool]]:
    """Yield each damage with its name, and whether its content can be told from a sound one."""
    for key in ("specs", "jobs", "errors", "progress"):
        for content in (None, *GARBAGE):
            yield f"{key} {content!r:.20}", whole(key, content), key in ("specs", "jobs")
    for index, name in enumerate(SPEC):
        wrong = WRONG_TEXTS if name in ("id", "task", "key", "value", "unique", "owner", "payload") else WRONG_NUMBERS
        for content in wrong:
            shows = content is not None or name not in ("key", "value", "expires", "unique", "owner")
            yield f"specs.{name} {content!r}", in_spec(index, content), shows and name != "in_line"
    for index, (name, kind) in enumerate(Job.__annotations__.items()):
        wrong = WRONG_NUMBERS if kind in (int, int | None) else WRONG_TEXTS
        for content in wrong:
            yield f"jobs.{name} {content!r}", in_job(index, content), False


@pytest.mark.parametrize("stage", STAGES)
async def test_a_damaged_record_is_the_trouble_of_its_job_alone(any_redis_server: Server, stage: str) -> None:
    clock = ManualClock()
    backend = RedisBackend(any_redis_server.url, clock=clock)
    await backend.open()
    broken: list[str] = []
    with any_redis_server.client() as client:
        for number, group in enumerate(groups(Damage(name, change, shows) for name, change, shows in damages())):
            name = f"q{number}"
            prefix = f"fifoq:{{{name}}}:"
            bound = [each._replace(change=partial(each.change, client, prefix)) for each in group]
            broken += await broken_promises(AsyncDriver(backend.queue(name)), clock, stage, bound)
    await backend.close()
    assert not broken, "\n".join(broken)
