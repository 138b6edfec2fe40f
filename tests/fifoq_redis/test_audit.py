"""The audit finds derived data that differ from the jobs: each structure is spoiled once, and found."""

from typing import Any

import pytest

from fifoq.limits import GateSettings, Limit
from fifoq.queue import Declare, Pause
from fifoq.record import Fail, Settlement
from fifoq.testing import AsyncDriver
from tests.fifoq_redis.conftest import job
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


async def fill(driver: AsyncDriver) -> None:
    """Put data into every structure."""
    await driver.queue.configure([Declare("task", GateSettings.of(limit=Limit(1, "x"))), Pause(key="k9")])
    jobs = [job(f"{n}", f"k{n % 4}", value="v", unique=f"u{n}") for n in range(8)]
    await driver.put(*jobs, job("plain"), job("paused", "k9"), job("later", delay=10**12), job("failing", "f"))
    leases = {lease.spec.id: lease for lease in await driver.leases(4)}
    await driver.succeed(leases.pop("plain"), retain=10**12)
    failing = leases.pop("failing")
    await driver.queue.settle(driver.call(), [Settlement(failing.spec.id, failing.token, Fail(b"", True, 0))])


@pytest.mark.parametrize(("command", "key"), SPOILED)
async def test_a_spoiled_structure_is_found(
    driver: AsyncDriver, any_redis_server: Server, command: str, key: str
) -> None:
    await fill(driver)
    await driver.put(job("free"))
    assert (await driver.queue.audit()).differences == ()
    with any_redis_server.client() as client:
        _spoil(client, command, f"fifoq:{{queue}}:{key}")
    assert (await driver.queue.audit()).differences != ()


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
