"""A record that cannot be read is set aside by the worker, once, and no other job stops; also after a restart."""

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from fifoq import BackendCorrupt, Fifoq, JobNotFound, State

Damage = Callable[[str], None]
"""Damages the record of a job, by its id."""


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Damage]:
    """An empty store, and a function that damages records in it. Those of memory are Python objects."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db", lambda id: in_sqlite(tmp_path / "jobs.db", id)
    url: str = request.getfixturevalue("any_redis_server").url
    return url, lambda id: in_redis(url, id)


def in_sqlite(path: Path, id: str) -> None:
    connection = sqlite3.connect(path, timeout=30)
    connection.execute("UPDATE fifoq_jobs SET payload = 'text', attempt = 'text', seq = 'text' WHERE id = ?", [id])
    connection.commit()
    connection.close()


def in_redis(url: str, id: str) -> None:
    client: Any = Redis.from_url(url)
    client.hset("fifoq:{default}:specs", id, b"\xc1\xc1")
    client.hset("fifoq:{default}:jobs", id, b"\xc1\xc1")
    client.close()


def tasks_on(url: str) -> Any:
    tasks = Fifoq(url)

    @tasks.task(key="key")
    async def work(key: str) -> str:
        return key

    @tasks.task(key="key", after_failure="halt")
    async def strict(key: str) -> str:
        return key

    return tasks, work, strict


@pytest.mark.parametrize("restart", [False, True])
async def test_a_damaged_record_is_set_aside_and_all_other_jobs_run(
    store: tuple[str, Damage], restart: bool, caplog: pytest.LogCaptureFixture
) -> None:
    url, damage = store
    tasks, work, _ = tasks_on(url)
    async with tasks:
        jobs = [await work.options(id=f"j{n}").enqueue(f"k{n // 2}") for n in range(6)]
        damage("j2")
        if not restart:
            await passes(tasks, jobs, caplog)
    if restart:
        tasks, work, _ = tasks_on(url)
        async with tasks:
            await passes(tasks, [work.handle(f"j{n}") for n in range(6)], caplog)


async def passes(tasks: Any, jobs: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    shown = [job async for job in tasks.jobs()]
    assert [job.id for job in shown] == [f"j{n}" for n in range(6)]
    assert shown[2].error.type == "BackendCorrupt"
    with caplog.at_level(logging.WARNING):
        async with tasks.worker():
            assert [await jobs[n].result(30) for n in (0, 1, 3, 4, 5)] == ["k0", "k0", "k1", "k2", "k2"]
            with pytest.raises(BackendCorrupt, match="j2"):
                await jobs[2].result(30)
            assert (await tasks.get("j2")).state is State.FAILED
            (queue,) = (await tasks.stats()).values()
            assert (queue.failed, queue.waiting, queue.running) == (1, 0, 0)
    assert len([record for record in caplog.records if "j2" in record.getMessage()]) == 1
    assert await tasks.cancel("j2")
    with pytest.raises(JobNotFound):
        await tasks.get("j2")
    caplog.clear()


async def test_a_damaged_record_of_a_key_that_halts_halts_it(store: tuple[str, Damage]) -> None:
    url, damage = store
    tasks, _, strict = tasks_on(url)
    async with tasks:
        first = await strict.options(id="first").enqueue("k")
        second = await strict.enqueue("k")
        in_the_call = "sqlite" in url
        if in_the_call:
            damage("first")
        else:
            client: Any = Redis.from_url(url)
            client.hset("fifoq:{default}:specs", "first", b"\xc1\xc1")
            client.close()
        async with tasks.worker():
            while not (await tasks.blocked_keys()).keys:
                with pytest.raises(BackendCorrupt):
                    await first.result(5)
            assert (await second.status()).state is State.WAITING
            assert await tasks.skip("first")
            assert await second.result(30) == "k"
