"""An open backend: its checks, its user, its process."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from fifoq import Fifoq
from fifoq.errors import BackendCorrupt, BackendFull, BackendUnavailable, ConfigurationError, FifoqError
from fifoq.queue import Queue
from fifoq.testing import AsyncDriver
from fifoq_redis import RedisBackend, pubsub
from fifoq_redis.keys import Keys
from tests.fifoq_redis.conftest import LONG, job, use_everything
from tests.servers import Server, Servers, Vendor

COMMANDS = (
    *("+fcall", "+function|load", "+time", "+info", "+get", "+set", "+setnx"),
    *("+sadd", "+smembers", "+sismember", "+exists", "+type"),
    *("+hget", "+hset", "+hdel", "+hmget", "+hgetall", "+hkeys", "+hlen", "+hrandfield"),
    *("+zadd", "+zrem", "+zrange", "+zrangebyscore", "+zrangebylex", "+zrank", "+zscore", "+zcount"),
    *("+publish", "+subscribe", "+pubsub|numsub", "+ping"),
)
"""The commands that docs/redis.md lists."""


async def test_a_user_limited_to_the_prefix_can_do_everything_and_no_more(redis_server: Server) -> None:
    url = redis_server.user("limited", "secret", "~shop:*", "&shop:*", *COMMANDS)
    backend = RedisBackend(f"{url}?prefix=shop")
    await backend.open()
    driver = AsyncDriver(backend.queue("queue"), retain=0)
    await use_everything(driver)
    assert (await driver.queue.audit()).differences == ()
    assert await backend.queues() == ("queue",)
    await backend.check()
    await backend.close()
    with pytest.raises(ConfigurationError, match="ACL") as caught:
        await RedisBackend(url).open()
    assert "secret" not in str(caught.value)


async def test_a_wrong_password_is_reported_without_showing_it(redis_server: Server) -> None:
    url = redis_server.user("reader", "right", "~*", "&*", "+@all").replace(":right@", ":wrong-one@")
    with pytest.raises(ConfigurationError, match="password") as caught:
        await RedisBackend(url).open()
    assert "wrong-one" not in str(caught.value)


async def test_a_server_that_evicts_whole_queues_is_refused(vendor: Vendor, servers: Servers) -> None:
    server = servers.standalone(vendor)
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", "100mb")
    with pytest.raises(ConfigurationError, match="noeviction"):
        await RedisBackend(server.url).open()


async def test_a_server_that_may_lose_jobs_is_warned_of_once(
    vendor: Vendor, servers: Servers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fifoq_redis.backend._warned", set[str]())  # an earlier server may have had this port
    server = servers.standalone(vendor)
    for backend in (RedisBackend(server.url), RedisBackend(f"{server.url}?prefix=other")):
        for each in (backend, backend.twin()):
            await each.open()
            await each.close()
    (warning,) = [record for record in caplog.records if record.name == "fifoq.redis"]
    assert warning.levelno == logging.WARNING
    assert "appendonly no" in warning.getMessage()


async def test_a_server_that_would_evict_them_is_warned_of(
    vendor: Vendor, servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    server = servers.standalone(vendor)
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    backend = RedisBackend(server.url)
    with caplog.at_level(logging.WARNING, "fifoq.redis"):
        await backend.open()
    assert "noeviction" in caplog.text
    notes = await backend.check()
    assert any("allkeys-lru" in note for note in notes)
    assert any("appendonly no" in note for note in notes)
    await backend.close()


async def test_a_server_that_cannot_be_reached_is_reported_with_its_address() -> None:
    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:1 "):
        await RedisBackend("redis://127.0.0.1:1").open()


async def test_a_backend_that_is_not_open_is_reported(any_redis_server: Server) -> None:
    backend = RedisBackend(any_redis_server.url)
    with pytest.raises(ConfigurationError, match="not open"):
        await backend.queue("queue").stats()


async def test_waits_that_outlive_the_backend_end_and_leave_no_connection(
    backend: RedisBackend, driver: AsyncDriver, any_redis_server: Server
) -> None:
    await driver.put(job("a"))
    await driver.claim()
    while await driver.queue.wait(0.01):
        pass
    waits = [asyncio.create_task(driver.queue.wait(LONG)), asyncio.create_task(driver.queue.finished("a", LONG))]
    await asyncio.sleep(0.1)
    await backend.close()
    for wait in waits:
        with pytest.raises(ConfigurationError, match="not open"):
            await asyncio.wait_for(wait, LONG)
    await asyncio.sleep(0.1)
    with any_redis_server.client() as client:
        assert client.pubsub_channels("fifoq:*") == []


async def test_a_query_of_an_end_just_begun_fails_when_the_backend_closes(
    backend: RedisBackend, driver: AsyncDriver
) -> None:
    """Its task is cancelled before its first step."""
    await driver.put(job("a"))
    assert await backend._open_store().subscribe(Keys.of("fifoq", "queue").state, LONG)
    query = asyncio.create_task(driver.queue.finished("a", 1.0))
    await asyncio.sleep(0)
    await backend.close()
    with pytest.raises(BackendUnavailable, match="closed"):
        await asyncio.wait_for(query, LONG)


async def test_a_fork_leaves_the_parents_connection_alone(backend: RedisBackend, driver: AsyncDriver) -> None:
    await driver.put(job("a"))
    child = os.fork()
    if not child:
        try:
            asyncio.get_event_loop_policy()
            driver.queue.stats().send(None)
            os._exit(1)
        except ConfigurationError as error:
            os._exit(0 if "fork" in str(error) else 2)
        except BaseException:
            os._exit(3)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert [lease.spec.id for lease in await driver.leases()] == ["a"]


async def test_cancelled_calls_leave_replies_in_step(driver: AsyncDriver) -> None:
    await driver.put(*[job(f"{n}") for n in range(50)])

    async def ask(id: str) -> str:
        (record,) = await driver.queue.get([id])
        assert record is not None
        return record.spec.id

    for steps in range(12):
        tasks = [asyncio.create_task(ask(f"{n}")) for n in range(50)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.wait_for(asyncio.gather(*tasks[1::2]), LONG)
        assert found == [f"{n}" for n in range(1, 50, 2)]
        await asyncio.gather(*tasks[::2], return_exceptions=True)


async def test_a_settle_and_the_claim_after_it_are_one_round_trip(backend: RedisBackend, driver: AsyncDriver) -> None:
    await driver.put(*[job(f"{n}", f"k{n % 10}") for n in range(400)])
    assert backend._store is not None
    (node,) = backend._store.topology.nodes()
    leases = await driver.leases(100)
    before, done = node.connection.sends, 0
    while leases:
        settled, claimed = await asyncio.gather(driver.succeed_all(*leases), driver.leases(100))
        done += len(settled)
        leases = claimed or await driver.leases(100)
    assert done == 400
    assert node.connection.sends - before <= 0.1 * done + 45  # ten keys give ten jobs at a time: two turns for ten


async def test_queues_are_found_again_after_the_server_was_emptied(
    backend: RedisBackend, driver: AsyncDriver, any_redis_server: Server
) -> None:
    await driver.put(job("a"))
    any_redis_server.flush()
    assert await backend.queues() == ()
    await driver.put(job("b"))
    assert await backend.queues() == ("queue",)


async def test_a_notified_backend_without_a_waiter_passes_the_notification_on(
    any_redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two backends waited; the notified one has no waiter any more. The other one wakes without a query."""
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 2 * LONG)
    first, second = RedisBackend(any_redis_server.url), RedisBackend(any_redis_server.url)
    for backend in (first, second):
        await backend.open()
    one, two = AsyncDriver(first.queue("queue"), retain=0), AsyncDriver(second.queue("queue"), retain=0)
    await _next_change(one.queue)
    waiting = asyncio.create_task(_next_change(two.queue, LONG))
    await asyncio.sleep(0.1)
    await one.put(job("a"))
    assert await asyncio.wait_for(waiting, 0.9 * LONG)
    for backend in (first, second):
        await backend.close()


async def _next_change(queue: Queue, timeout: float = 0.2) -> bool:
    """Wait until no change is left to report, and then for the next one."""
    while await queue.wait(0.01):
        pass
    return await queue.wait(timeout)


def test_the_documentation_lists_the_commands_that_are_needed() -> None:
    text = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
    assert " ".join(COMMANDS) in " ".join(text.split())


async def test_a_full_server_is_drained_by_a_process_that_opens_it_then(vendor: Vendor, servers: Servers) -> None:
    """Opening, declaring, claiming, extending and settling write nothing that a server at its maxmemory refuses."""
    server = servers.standalone(vendor)
    ran: list[int] = []

    def app() -> Fifoq:
        tasks = Fifoq(server.url, lease=1.0)

        @tasks.task(key="key", limit=3, retain=0)
        async def work(key: str, number: int) -> None:
            await asyncio.sleep(0.4 if number == 0 else 0)  # long enough for an extension
            ran.append(number)

        return tasks

    async with app() as producer:
        for number in range(20):
            await producer.tasks["work"].enqueue(f"k{number % 4}", number)
    with server.client() as client:
        client.config_set("maxmemory", 1)
    full = app()
    async with full, full.worker() as worker:
        with pytest.raises(BackendFull):
            await full.tasks["work"].enqueue("k", 20)
        while len(ran) < 20:  # noqa: ASYNC110 -- the jobs are many, and none of them is awaited
            await asyncio.sleep(0.01)
        assert worker.ready
    assert sorted(ran) == list(range(20))


@pytest.mark.parametrize("command", ["GET", "SETNX", "SISMEMBER", "SADD", "FCALL", "FUNCTION"])
async def test_a_server_without_a_needed_command_is_a_configuration_error_that_names_it(
    vendor: Vendor, servers: Servers, command: str
) -> None:
    backend = RedisBackend(servers.standalone(vendor, rename_command=f'{command} ""').url)

    async def use() -> None:
        await backend.open()
        await AsyncDriver(backend.queue("queue")).put(job("a", payload=b"secret"))

    with pytest.raises(ConfigurationError, match=f"has no command {command}, which fifoq needs") as caught:
        await use()
    assert "secret" not in str(caught.value)
    await backend.close()


@pytest.mark.parametrize("stored", [b"one", b"", b"-1", b"\xff", b"1.5", b"9" * 400])
async def test_a_schema_that_cannot_be_read_is_an_error_of_fifoq(any_redis_server: Server, stored: bytes) -> None:
    with any_redis_server.client() as client:
        client.set("fifoq:schema", stored)
    backend = RedisBackend(any_redis_server.url)
    with pytest.raises(FifoqError) as caught:
        await backend.open()
    assert isinstance(caught.value, BackendCorrupt | ConfigurationError)
    assert str(any_redis_server.port) in str(caught.value)
