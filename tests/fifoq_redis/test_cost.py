"""What a call costs the server does not depend on what else there is: counted in the commands that a script runs."""

import asyncio
from typing import Any

import pytest
import redis

from fifoq.limits import GateSettings, Limit
from fifoq.queue import Declare
from fifoq.record import Fail, Settlement
from tests.fifoq_redis.conftest import Line, job
from tests.servers import Server

FEW, MANY = 20, 1_500


async def a_deep_line(line: Line, n: int) -> None:
    await line.put(*[job(f"{n}", "deep") for n in range(n)])
    await line.leases()


async def many_keys(line: Line, n: int) -> None:
    await line.put(*[job(f"{n}", f"k{n}", priority=-1) for n in range(n)])


async def many_halted(line: Line, n: int) -> None:
    await line.put(*[job(f"{n}", f"k{n // 2}") for n in range(2 * n)])
    ends = [Settlement(one.spec.id, one.token, Fail(b"", True, 0)) for one in await line.leases(n)]
    await line.queue.settle(line.call(), ends)


async def many_over_a_limit(line: Line, n: int) -> None:
    await line.queue.configure([Declare("narrow", GateSettings.of(limit=Limit(1, "tenant")))])
    await line.put(*[job(f"{n}", task="narrow", value=f"v{n // 2}", priority=9) for n in range(n)])
    await line.leases(n, tasks=["narrow"])


async def many_backing_off(line: Line, n: int) -> None:
    await line.put(*[job(f"{n}", f"k{n}", delay=10**10, in_line=True) for n in range(n)])


@pytest.mark.parametrize("shape", [a_deep_line, many_keys, many_halted, many_over_a_limit, many_backing_off])
async def test_put_claim_and_settle_run_as_many_commands_behind_many_as_behind_few(
    line: Line, any_redis_server: Server, shape: Any
) -> None:
    counts: list[list[int]] = []
    with any_redis_server.client() as client:
        for n in (FEW, MANY):
            client.flushall()
            await line.queue.configure([])
            await shape(line, n)
            counts.append(await _commands(line, client))
    few, many = counts
    assert many == few


async def _commands(line: Line, client: redis.Redis) -> list[int]:
    """How many commands a put, a claim and a settle of one job run."""
    numbers: list[int] = []
    before = _calls(client)
    await line.put(job("own", "own"))
    numbers.append(_calls(client) - before)
    before = _calls(client)
    (lease,) = await line.leases()
    numbers.append(_calls(client) - before)
    before = _calls(client)
    await line.succeed(lease)
    numbers.append(_calls(client) - before)
    return numbers


def _calls(client: redis.Redis) -> int:
    stats: Any = client.info("commandstats")
    mine = ("cmdstat_info", "cmdstat_ping")
    return sum(one["calls"] for name, one in stats.items() if not name.startswith(mine))


async def test_a_hundred_settled_and_claimed_in_one_call_cost_few_commands_more_than_one(
    line: Line, any_redis_server: Server
) -> None:
    counts: list[int] = []
    with any_redis_server.client() as client:
        for n in (1, 100):
            await line.put(*[job(f"{n}-{number}") for number in range(2 * n)])
            leases = await line.leases(n)
            before = _calls(client)
            _, claimed = await asyncio.gather(line.succeed_all(*leases), line.leases(n))
            assert len(claimed) == n
            counts.append(_calls(client) - before)
            await line.succeed_all(*claimed)
    one, hundred = counts
    assert hundred <= one + 5
