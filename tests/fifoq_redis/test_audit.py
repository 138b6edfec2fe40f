"""The audit finds what does not agree with the jobs: each structure is spoiled once, and seen."""

from typing import Any

import pytest

from fifoq.limits import GateSettings, Limit
from fifoq.queue import Declare, Pause
from fifoq.record import Fail, Settlement
from tests.fifoq_redis.conftest import Line, job
from tests.servers import Server

SPOILED = (
    ("hdel", "specs"),
    ("hdel", "errors"),
    ("hset", "progress"),
    ("zrem", "entries"),
    ("zrem", "waiting"),
    ("zrem", "ready"),
    ("zrem", "offers"),
    ("hdel", "values"),
    ("zrem", "lines"),
    ("zrem", "timers"),
    ("zrem", "ends"),
    ("hdel", "uniques"),
    ("zrem", "blocked"),
    ("hdel", "book"),
    ("hset", "watched"),
    ("zadd", "ready"),
    ("zadd", "timers"),
    ("zadd", "blocked"),
    ("hdel", "jobs"),
    ("hdel", "paused"),
)


async def fill(line: Line) -> None:
    """Something of everything."""
    await line.queue.configure([Declare("task", GateSettings.of(limit=Limit(1, "x"))), Pause(key="k9")])
    jobs = [job(f"{n}", f"k{n % 4}", value="v", unique=f"u{n}") for n in range(8)]
    await line.put(*jobs, job("plain"), job("paused", "k9"), job("later", delay=10**12), job("failing", "f"))
    leases = {lease.spec.id: lease for lease in await line.leases(4)}
    await line.succeed(leases.pop("plain"), retain=10**12)
    failing = leases.pop("failing")
    await line.queue.settle(line.call(), [Settlement(failing.spec.id, failing.token, Fail(b"", True, 0))])


@pytest.mark.parametrize(("command", "key"), SPOILED)
async def test_what_was_spoiled_is_found(line: Line, any_redis_server: Server, command: str, key: str) -> None:
    await fill(line)
    await line.put(job("free"))
    assert (await line.queue.audit()).differences == ()
    with any_redis_server.client() as client:
        _spoil(client, command, f"fifoq:{{queue}}:{key}")
    assert (await line.queue.audit()).differences != ()


def _spoil(client: Any, command: str, key: str) -> None:
    match command:
        case "hdel":
            assert client.hdel(key, next(field for field in client.hkeys(key) if not field.startswith(b"\0"))) == 1
        case "zrem":
            assert client.zrem(key, client.zrange(key, 0, 0)[0]) == 1
        case "hset":
            client.hset(key, "7", b"\xc0")
        case _:
            client.zadd(key, {"task\x00strange": 0})
