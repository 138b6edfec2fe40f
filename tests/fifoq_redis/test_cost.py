"""The cost of a call for the server, counted in commands of a function, does not depend on the number of other jobs."""

import asyncio
from typing import Any

import pytest
import redis

from fifoq.limits import GateSettings, Limit
from fifoq.queue import Declare
from fifoq.record import Fail, Settlement
from fifoq.testing import AsyncDriver
from tests.fifoq_redis.conftest import job
from tests.servers import Server

FEW, MANY = 20, 1_500


async def a_deep_line(driver: AsyncDriver, n: int) -> None:
    await driver.put(*[job(f"{n}", "deep") for n in range(n)])
    await driver.leases()


async def many_keys(driver: AsyncDriver, n: int) -> None:
    await driver.put(*[job(f"{n}", f"k{n}", priority=-1) for n in range(n)])


async def many_halted(driver: AsyncDriver, n: int) -> None:
    await driver.put(*[job(f"{n}", f"k{n // 2}") for n in range(2 * n)])
    ends = [Settlement(one.spec.id, one.token, Fail(b"", True, 0)) for one in await driver.leases(n)]
    await driver.queue.settle(driver.call(), ends)


async def many_over_a_limit(driver: AsyncDriver, n: int) -> None:
    await driver.queue.configure([Declare("narrow", GateSettings.of(limit=Limit(1, "tenant")))])
    await driver.put(*[job(f"{n}", task="narrow", value=f"v{n // 2}", priority=9) for n in range(n)])
    await driver.leases(n, tasks=["narrow"])


async def many_backing_off(driver: AsyncDriver, n: int) -> None:
    await driver.put(*[job(f"{n}", f"k{n}", delay=10**10, in_line=True) for n in range(n)])


@pytest.mark.parametrize("shape", [a_deep_line, many_keys, many_halted, many_over_a_limit, many_backing_off])
async def test_put_claim_and_settle_run_as_many_commands_behind_many_as_behind_few(
    driver: AsyncDriver, any_redis_server: Server, shape: Any
) -> None:
    counts: list[list[int]] = []
    with any_redis_server.client() as client:
        for n in (FEW, MANY):
            client.flushall()
            await driver.queue.configure([])
            await shape(driver, n)
            counts.append(await _commands(driver, client))
    few, many = counts
    assert many == few


async def _commands(driver: AsyncDriver, client: redis.Redis) -> list[int]:
    """Return the numbers of commands that a put, a claim and a settle of one job run."""
    numbers: list[int] = []
    before = _calls(client)
    await driver.put(job("own", "own"))
    numbers.append(_calls(client) - before)
    before = _calls(client)
    (lease,) = await driver.leases()
    numbers.append(_calls(client) - before)
    before = _calls(client)
    await driver.succeed(lease)
    numbers.append(_calls(client) - before)
    return numbers


def _calls(client: redis.Redis) -> int:
    stats: Any = client.info("commandstats")
    mine = ("cmdstat_info", "cmdstat_ping")
    return sum(one["calls"] for name, one in stats.items() if not name.startswith(mine))


async def test_a_hundred_settled_and_claimed_in_one_call_cost_few_commands_more_than_one(
    driver: AsyncDriver, any_redis_server: Server
) -> None:
    counts: list[int] = []
    with any_redis_server.client() as client:
        for n in (1, 100):
            await driver.put(*[job(f"{n}-{number}") for number in range(2 * n)])
            leases = await driver.leases(n)
            before = _calls(client)
            _, claimed = await asyncio.gather(driver.succeed_all(*leases), driver.leases(n))
            assert len(claimed) == n
            counts.append(_calls(client) - before)
            await driver.succeed_all(*claimed)
    one, hundred = counts
    assert hundred <= one + 5
