"""What an open backend is: its checks, its user, its process."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from fifoq.errors import BackendUnavailable, ConfigurationError
from fifoq.queue import Queue
from fifoq_redis import RedisBackend, pubsub
from fifoq_redis.keys import Keys
from tests.fifoq_redis.conftest import LONG, Line, job
from tests.servers import Server, Servers, Vendor

COMMANDS = (
    *("+fcall", "+function|load", "+time", "+info", "+get", "+set", "+setnx", "+sadd", "+smembers", "+exists", "+type"),
    *("+hget", "+hset", "+hdel", "+hmget", "+hgetall", "+hkeys", "+hlen", "+hrandfield"),
    *("+zadd", "+zrem", "+zrange", "+zrangebyscore", "+zrangebylex", "+zrank", "+zscore", "+zcount"),
    *("+publish", "+subscribe", "+pubsub|numsub", "+ping"),
)
"""As docs/redis.md lists them."""


async def test_a_user_who_is_limited_to_the_prefix_can_do_all_and_no_more(redis_server: Server) -> None:
    url = redis_server.user("limited", "secret", "~shop:*", "&shop:*", *COMMANDS)
    backend = RedisBackend(f"{url}?prefix=shop")
    await backend.open()
    from tests.fifoq_redis.test_functions import use_everything

    line = Line(backend.queue("queue"), retain=0)
    await use_everything(line)
    assert (await line.queue.audit()).differences == ()
    assert await backend.queues() == ("queue",)
    await backend.check()
    await backend.close()
    with pytest.raises(ConfigurationError, match="ACL") as caught:
        await RedisBackend(url).open()
    assert "secret" not in str(caught.value)


async def test_a_wrong_password_is_told_without_showing_it(redis_server: Server) -> None:
    url = redis_server.user("somebody", "right", "~*", "&*", "+@all").replace(":right@", ":wrong-one@")
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


async def test_nobody_at_the_door_is_told_with_the_address() -> None:
    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:1 "):
        await RedisBackend("redis://127.0.0.1:1").open()


async def test_what_is_not_open_says_so(any_redis_server: Server) -> None:
    backend = RedisBackend(any_redis_server.url)
    with pytest.raises(ConfigurationError, match="not open"):
        await backend.queue("queue").stats()


async def test_waits_that_outlive_the_backend_end_and_leave_no_connection(
    backend: RedisBackend, line: Line, any_redis_server: Server
) -> None:
    await line.put(job("a"))
    await line.claim()
    while await line.queue.wait(0.01):
        pass
    waits = [asyncio.create_task(line.queue.wait(LONG)), asyncio.create_task(line.queue.finished("a", LONG))]
    await asyncio.sleep(0.1)
    await backend.close()
    for wait in waits:
        with pytest.raises(ConfigurationError, match="not open"):
            await asyncio.wait_for(wait, LONG)
    await asyncio.sleep(0.1)
    with any_redis_server.client() as client:
        assert client.pubsub_channels("fifoq:*") == []


async def test_a_query_of_an_end_just_begun_fails_when_the_backend_closes(backend: RedisBackend, line: Line) -> None:
    """Its task is cancelled before its first step."""
    await line.put(job("a"))
    assert await backend._open_store().subscribe(Keys.of("fifoq", "queue").state, LONG)
    query = asyncio.create_task(line.queue.finished("a", 1.0))
    await asyncio.sleep(0)
    await backend.close()
    with pytest.raises(BackendUnavailable, match="closed"):
        await asyncio.wait_for(query, LONG)


async def test_a_fork_leaves_the_parents_connection_alone(backend: RedisBackend, line: Line) -> None:
    await line.put(job("a"))
    child = os.fork()
    if not child:
        try:
            asyncio.get_event_loop_policy()
            line.queue.stats().send(None)
            os._exit(1)
        except ConfigurationError as error:
            os._exit(0 if "fork" in str(error) else 2)
        except BaseException:
            os._exit(3)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert [lease.spec.id for lease in await line.leases()] == ["a"]


async def test_of_calls_that_are_cancelled_nothing_gets_out_of_step(line: Line) -> None:
    await line.put(*[job(f"{n}") for n in range(50)])

    async def ask(id: str) -> str:
        (record,) = await line.queue.get([id])
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


async def test_a_settle_and_the_claim_after_it_are_one_round_trip(backend: RedisBackend, line: Line) -> None:
    await line.put(*[job(f"{n}", f"k{n % 10}") for n in range(400)])
    assert backend._store is not None
    (node,) = backend._store.topology.nodes()
    leases = await line.leases(100)
    before, done = node.connection.sends, 0
    while leases:
        settled, claimed = await asyncio.gather(line.succeed_all(*leases), line.leases(100))
        done += len(settled)
        leases = claimed or await line.leases(100)
    assert done == 400
    assert node.connection.sends - before <= 0.1 * done + 45  # ten keys give ten jobs at a time: two turns for ten


async def test_queues_are_found_again_after_the_server_was_emptied(
    backend: RedisBackend, line: Line, any_redis_server: Server
) -> None:
    await line.put(job("a"))
    any_redis_server.flush()
    assert await backend.queues() == ()
    await line.put(job("b"))
    assert await backend.queues() == ("queue",)


async def test_who_is_called_and_waits_no_more_passes_it_on(
    any_redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two wait; the one that is told of a job has gone by then: the other one hears of it, and nobody has to ask."""
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 2 * LONG)
    first, second = RedisBackend(any_redis_server.url), RedisBackend(any_redis_server.url)
    for backend in (first, second):
        await backend.open()
    one, two = Line(first.queue("queue"), retain=0), Line(second.queue("queue"), retain=0)
    await _registered(one.queue)
    waiting = asyncio.create_task(_registered(two.queue, LONG))
    await asyncio.sleep(0.1)
    await one.put(job("a"))
    assert await asyncio.wait_for(waiting, 0.9 * LONG)
    for backend in (first, second):
        await backend.close()


async def _registered(queue: Queue, timeout: float = 0.2) -> bool:
    """Wait for the next change, from what there is now on."""
    while await queue.wait(0.01):
        pass
    return await queue.wait(timeout)


def test_the_documentation_lists_the_commands_that_are_needed() -> None:
    text = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
    assert " ".join(COMMANDS) in " ".join(text.split())
