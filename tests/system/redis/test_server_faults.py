"""
A server that forgets its scripts, hangs, is full, takes no writes or is killed.

No job is run twice that was not in doubt, no order breaks, and workers go on by themselves.
"""

import asyncio

import pytest

from fifoq.errors import BackendFull, BackendReadOnly
from fifoq.testing.history import MemoryLog, Started, stamp
from tests.servers import Server, Servers, Vendor
from tests.system.redis.workload import Load, assert_survivors_in_order, number_of, ticking

RESUMES = 2.0
"""Seconds after its server's return in which a worker is at work again, by itself."""


async def assert_resumes(load: Load, log: MemoryLog) -> None:
    """Fail if no job begins soon. Called when the server is back."""
    back = stamp()
    async with ticking() as late:
        await load.until(lambda: any(isinstance(one, Started) and one.at > back for one in log.events), "a job")
        begun = min(one.at for one in log.events if isinstance(one, Started) and one.at > back)
        assert (begun - back) / 1e9 < RESUMES + 5 * max(late)


async def test_functions_flushed_in_a_loop_are_loaded_again_in_silence(redis_server: Server, log: MemoryLog) -> None:
    async def flush() -> None:
        with redis_server.client() as client:
            for _ in range(100):
                await asyncio.to_thread(client.function_flush)
                await asyncio.to_thread(client.script_flush)
                await asyncio.sleep(0.005)

    # The leases outlast the loop: an extension, too, may find the functions gone as often as it loads them.
    async with Load(redis_server.url, log, lease=5.0) as load, load.workers(2):
        await load.flow(flush())
        await load.all_ended()
        await load.attentive()
        await load.prove()
        await load.assert_every_reply_was_received()
    assert not load.troubles


async def test_a_server_that_hangs_for_longer_than_a_lease_costs_the_leases_and_nothing_else(
    servers: Servers, vendor: Vendor, log: MemoryLog
) -> None:
    server = servers.standalone(vendor)
    async with Load(server.url, log, lease=0.6) as load, load.workers(2):
        for _ in range(2):
            before = load.starts
            await load.put(10, seconds=0.3)
            await load.until(load.begun(before + 4), "some starts")
            server.freeze()
            meanwhile = asyncio.create_task(load.put(20))
            await asyncio.sleep(1.0)
            server.thaw()
            await assert_resumes(load, log)
            await meanwhile
        await load.all_ended()
        await load.attentive()
        report = await load.prove()
    assert report.in_doubt >= 4, "leases were to end"


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
async def test_a_killed_server_loses_no_acknowledged_job_that_its_fsync_policy_keeps(
    servers: Servers, vendor: Vendor, log: MemoryLog, policy: str
) -> None:
    """SIGKILL leaves the kernel's pages alone: what was written is there. The policies differ when the power goes."""
    server = servers.standalone(vendor, appendonly="yes", appendfsync=policy)
    async with Load(server.url, log, lease=1.0, work=0.01) as load, load.workers(2):
        over = asyncio.Event()
        flow = asyncio.create_task(load.flow(over.wait(), pause=0.02))
        for _ in range(2):
            await asyncio.sleep(0.3)
            server.kill()
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.start)
            await assert_resumes(load, log)
        over.set()
        await flow
        await load.all_ended()
        await load.attentive()
        if policy == "everysec":
            # While the disk is slow the server acknowledges what it has not written yet.
            assert_survivors_in_order(await load.records(), log.events)
            assert (await load.queue.audit()).differences == ()
        else:
            await load.prove()


async def test_a_server_that_comes_back_empty_is_worked_on_like_a_new_one(
    servers: Servers, vendor: Vendor, log: MemoryLog
) -> None:
    """Without persistence all is lost with the server, but nobody has to be started again."""
    server = servers.standalone(vendor)
    async with Load(server.url, log, lease=1.0) as load, load.workers(2):
        await load.put(30)
        await load.all_ended()
        server.restart()
        await load.put(30)
        await load.all_ended()
        await load.attentive()
        records = await load.records()
        assert [number_of(record) for record in records] == list(range(30, 60))
        assert_survivors_in_order(records, log.events)
        assert await load.store.queues() == ("league",)
        assert (await load.queue.audit()).differences == ()


async def test_at_maxmemory_puts_are_refused_by_name_and_what_runs_can_end(
    servers: Servers, vendor: Vendor, log: MemoryLog
) -> None:
    server = servers.standalone(vendor, maxmemory_policy="noeviction")
    async with Load(server.url, log, lease=1.5) as load:
        async with load.workers(1):
            await load.put(4, seconds=2.5)
            await load.until(load.begun(4), "the start of four")
            with server.client() as client:
                used = client.info("memory")["used_memory"]
                client.config_set("maxmemory", used + 200_000)
                with pytest.raises(BackendFull):
                    await fill(load)
                client.config_set("maxmemory", used)  # well below what is used
                # Nothing else fits, and yet these four extend their leases four times, and end.
                await load.until(load.ended(4), "the end of four")
                client.config_set("maxmemory", 0)
            await load.put(20)
            await load.until(load.ended(24), "the end of all")
            await load.attentive()
        report = await load.prove()
    assert report.attempts == 24


async def fill(load: Load) -> None:
    """Put jobs that stay, of two kilobytes each, as long as there is room."""
    for _ in range(1_000):
        await load.party.echo.options(delay=3600, meta={"filler": "x" * 2_000}).enqueue(1)


async def test_a_released_job_goes_back_to_its_place_at_maxmemory(
    servers: Servers, vendor: Vendor, log: MemoryLog
) -> None:
    server = servers.standalone(vendor, maxmemory_policy="noeviction")
    async with Load(server.url, log) as load:
        async with load.workers(1, grace=0.0):
            await load.put(12, seconds=30.0)
            await load.until(load.begun(1), "a start")
            with server.client() as client:
                client.config_set("maxmemory", 1_000_000)
        stats = await load.queue.stats()
        assert (stats.waiting, stats.running) == (12, 0)
        records = await load.queue.get([f"job-{number}" for number in range(12)])
        assert {record.attempt for record in records if record} == {0}


async def test_a_server_that_becomes_a_replica_takes_no_writes_until_it_is_a_primary_again(
    servers: Servers, vendor: Vendor, log: MemoryLog
) -> None:
    server = servers.standalone(vendor)
    async with Load(server.url, log, lease=1.0, work=0.01) as load, load.workers(2):
        await load.put(20)
        with server.client() as client:
            # Of a primary that is not there: no data is replaced, nothing may be written.
            client.execute_command("REPLICAOF", "127.0.0.1", 1)
            with pytest.raises(BackendReadOnly):
                await load.party.play.enqueue("m0", 0)
            flow = asyncio.create_task(load.put(20))
            await asyncio.sleep(1.5)
            client.execute_command("REPLICAOF", "NO", "ONE")
        await assert_resumes(load, log)
        await flow
        await load.all_ended()
        await load.attentive()
        await load.prove()
    assert load.troubles["BackendReadOnly"] > 0
