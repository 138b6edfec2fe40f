"""Who tells workers of new jobs: one at once, and the clock when every word is lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fifoq.testing.history import MemoryLog, Started
from tests.servers import Server, Servers
from tests.servers.proxy import Command, Proxy
from tests.system.redis.workload import QUEUE, Load, ticking, verb

FLOOR = 1.0
"""Seconds in which an idle worker finds a job that nobody tells it of."""


@pytest.fixture
def proxy(any_redis_server: Server, servers: Servers) -> Proxy:
    return servers.proxy(any_redis_server)


async def start_delays(load: Load, log: MemoryLog, jobs: int) -> AsyncIterator[float]:
    """Put jobs one by one for idle workers; yield the seconds from each enqueue's return to its start."""
    for _ in range(jobs):
        await load.put(1)
        done, id = time.monotonic_ns(), f"job-{load.jobs - 1}"
        await load.until(lambda id=id: any(isinstance(one, Started) and one.job == id for one in log.events), "a start")
        yield next((one.at - done) / 1e9 for one in log.events if isinstance(one, Started) and one.job == id)
        await load.all_ended()


async def test_a_job_starts_within_a_second_when_every_notification_is_lost(proxy: Proxy, log: MemoryLog) -> None:
    async with Load(proxy.url, log) as load, load.workers(2), ticking() as late:
        await load.attentive()
        proxy.silence()
        delays = [delay async for delay in start_delays(load, log, 4)]
        assert max(delays) <= FLOOR + 5 * max(late)
        # And who waits for a result gets it without being told.
        async with asyncio.timeout(10):
            assert await load.party.echo.call(7) == 7
        assert proxy.silences > 0, "notifications were to be lost"
        proxy.heal()
        await load.attentive()
        await load.prove()


async def test_a_lost_register_of_idle_workers_costs_a_second_once(any_redis_server: Server, log: MemoryLog) -> None:
    async with Load(any_redis_server.url, log) as load, load.workers(2), ticking() as late:
        await load.attentive()
        with any_redis_server.client() as client:
            assert client.delete(f"fifoq:{{{QUEUE}}}:waiters") == 1
        delays = [delay async for delay in start_delays(load, log, 1)]
        assert max(delays) <= FLOOR + 5 * max(late)
        await load.attentive()


async def test_killed_listening_connections_are_made_anew(any_redis_server: Server, log: MemoryLog) -> None:
    async with Load(any_redis_server.url, log) as load, load.workers(2):
        await load.attentive()
        with any_redis_server.client() as client:
            for _ in range(5):
                killed: Any = client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                assert killed >= 2
                await asyncio.sleep(0.3)
        await load.attentive()


async def test_a_new_job_wakes_one_idle_worker_and_not_all_of_them(proxy: Proxy, log: MemoryLog) -> None:
    claims: list[float] = []
    is_claim = verb("claim")

    def count(command: Command) -> bool:
        if is_claim(command):
            claims.append(time.monotonic())
        return False

    async with Load(proxy.url, log) as load, load.workers(6):
        await load.attentive()
        proxy.cut(count)
        claims.clear()
        begin = time.monotonic()
        assert max([delay async for delay in start_delays(load, log, 20)]) < FLOOR
        # One to get it, one to find that there is no more; and each worker reads once in a while, whatever it hears.
        assert len(claims) <= 20 * 3 + 6 * 3 * (1 + time.monotonic() - begin)
        await load.prove()
