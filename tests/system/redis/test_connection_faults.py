"""Replies that are cut after the script ran, stalled and reset connections: no second effect, and nobody is deaf."""

import asyncio

import pytest

from fifoq.testing.history import MemoryLog
from tests.servers import Server, Servers
from tests.servers.proxy import Proxy, scripts
from tests.system.redis.workload import Load, verb


@pytest.fixture
def proxy(any_redis_server: Server, servers: Servers) -> Proxy:
    return servers.proxy(any_redis_server)


@pytest.mark.parametrize("name", ["put", "claim", "settle", "any"])
async def test_cut_replies_change_nothing_that_the_history_can_see(proxy: Proxy, log: MemoryLog, name: str) -> None:
    """The script ran, and its caller never hears of it."""
    # Who has room left is given what comes, and hardly ever claims.
    room = 1 if name == "claim" else 10
    async with Load(proxy.url, log, lease=2.0) as load, load.workers(2, concurrency=room):
        proxy.cut(scripts if name == "any" else verb(name), times=20, every=4)
        await load.flow(load.until(lambda: proxy.cuts >= 15, "the cuts"))
        proxy.heal()
        await load.all_ended()
        await load.attentive()
        await load.prove()
        await load.assert_every_reply_was_received()
    assert not load.troubles


async def test_commands_cut_before_they_arrive_are_sent_again(proxy: Proxy, log: MemoryLog) -> None:
    async with Load(proxy.url, log, lease=2.0) as load, load.workers(2):
        proxy.cut(scripts, times=60, every=5, before=True)
        await load.flow(asyncio.sleep(1.5))
        await load.all_ended()
        proxy.heal()
        await load.attentive()
        await load.prove()
        await load.assert_every_reply_was_received()
    assert proxy.cuts > 20
    assert not load.troubles


async def test_connections_that_are_reset_again_and_again_are_made_anew(proxy: Proxy, log: MemoryLog) -> None:
    async def reset() -> int:
        reset = 0
        for _ in range(40):
            await asyncio.sleep(0.04)
            reset += proxy.drop()
        return reset

    async with Load(proxy.url, log, lease=2.0) as load, load.workers(2):
        assert await load.flow(reset()) > 80
        await load.all_ended()
        await load.attentive()
        await load.prove()
        await load.assert_every_reply_was_received()
    assert not load.troubles


async def test_a_network_that_stalls_for_longer_than_a_lease_costs_the_leases_and_nothing_else(
    proxy: Proxy, log: MemoryLog
) -> None:
    async with Load(proxy.url, log, lease=0.6, work=0.02) as load, load.workers(2):
        flow = asyncio.create_task(load.flow(asyncio.sleep(2.0), pause=0.05))
        await asyncio.sleep(0.3)
        proxy.stall()
        await asyncio.sleep(1.2)
        proxy.flow()
        await flow
        await load.all_ended()
        await load.attentive()
        await load.prove()
