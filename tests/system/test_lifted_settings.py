"""A pause, an override or a declaration that is lifted leaves nothing in the store, whatever names it was for."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fifoq import State
from fifoq.backends import connect
from fifoq.limits import GateSettings, Limit
from fifoq.queue import Override, Pause, Resume, Setting
from fifoq.testing import Driver, spec
from fifoq_memory import MemoryBackend
from fifoq_redis import RedisBackend
from tests.servers import Server

ENDED, LIVE, RUNNING = "ended", "live", "running"
"""The tasks that have a job."""

names = st.one_of(
    st.sampled_from([ENDED, LIVE, RUNNING]), st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=9)
)
overrides = st.sampled_from([
    GateSettings.of(limit=3),
    GateSettings.of(limit=Limit(1, by="tenant")),
    GateSettings.of(capacity=9),
    GateSettings.of(rate="1/s"),
])  # fmt: skip
gates, keys = st.tuples(st.none() | names, st.none()), st.tuples(st.none(), names)
changes = st.one_of(
    (gates | keys).map(lambda place: Pause(*place)),
    (gates | keys).map(lambda place: Resume(*place)),
    st.builds(Override, st.none() | names, st.none() | overrides),
)
stories = st.tuples(st.lists(changes, max_size=12), st.integers(0, 999))


def lifts(story: list[Setting], seed: int) -> list[Setting]:
    """Return the opposites of all changes, in any order."""
    resumes = {Resume(one.task, one.key if isinstance(one, Pause | Resume) else None): None for one in story}
    last: list[Setting] = [*resumes, *(Override(one.task, None) for one in story if isinstance(one, Override))]
    Random(seed).shuffle(last)
    return last


@pytest.fixture
def driver(url: str) -> Iterator[Driver]:
    driver = Driver(connect(url))
    yield driver
    driver.close()


@pytest.fixture
def size(url: str, driver: Driver, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], int]:
    """A function that counts the entries, rows, or keys and fields of the store."""
    if isinstance(driver.backend, MemoryBackend):
        return lambda: _entries(driver.queue)
    if isinstance(driver.backend, RedisBackend):
        server: Server = request.getfixturevalue("any_redis_server")
        return lambda: _fields(server)
    return lambda: _rows(tmp_path / "jobs.db")


def _entries(queue: Any) -> int:
    state = queue._state
    values = chain.from_iterable(task.values for task in state.tasks.values())
    blocked = chain.from_iterable(state.blocked.chunks)
    return sum(map(len, (state.jobs, state.lines, state.tasks, state.uniques, [*values], [*blocked])))


def _rows(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return sum(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for (name,) in tables)


def _fields(server: Server) -> int:
    sizes = {b"hash": "HLEN", b"zset": "ZCARD", b"set": "SCARD", b"string": "STRLEN", b"list": "LLEN"}
    with server.client() as client:
        keys: list[bytes] = [*client.scan_iter()]
        return len(keys) + sum(client.execute_command(sizes[client.type(key)], key) for key in keys)


def put_jobs(driver: Driver) -> None:
    driver.put(spec(id="ended", task=ENDED), spec("k", id="running", task=RUNNING, value="v"))
    assert driver.work(tasks=[ENDED]) == ["ended"]
    assert driver.claim(tasks=[RUNNING], lease=10**12) == ["running"]
    driver.put(spec("k", id="live", task=LIVE, value="v"))


def test_when_all_is_lifted_the_store_is_as_large_as_before(driver: Driver, size: Callable[[], int]) -> None:
    put_jobs(driver)
    before = size()

    @given(stories)
    @example(([Pause("none"), Pause(), Pause(key="none"), Override("none", GateSettings.of(limit=1))], 0))
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def any_changes(story: tuple[list[Setting], int]) -> None:
        changed, seed = story
        for one in [*changed, *lifts(changed, seed)]:
            driver.configure(one)
        assert size() == before
        assert driver.run(driver.queue.audit()).differences == ()

    any_changes()
    assert driver.run(driver.queue.stats()).waiting == 1


def test_a_lift_of_changes_that_never_were_stores_nothing(driver: Driver, size: Callable[[], int]) -> None:
    put_jobs(driver)
    before = size()
    driver.configure(*[Resume(f"none-{n}") for n in range(50)], *[Override(f"none-{n}", None) for n in range(50)])
    assert size() == before


def test_a_gate_stays_as_long_as_a_job_names_it(driver: Driver) -> None:
    """Also a job of another backend, whose put is not indexed yet, and one that ended."""
    driver.pause("first-paused")
    driver.put(spec(id="a", task="first-paused", value="v"))
    other = driver.twin()
    other.resume("first-paused")
    lease = driver.lease(tasks=["first-paused"])
    for pausing in (driver, other):
        pausing.pause("first-paused")
        pausing.resume("first-paused")
    assert driver.fail(lease) is State.FAILED
    for pausing in (other, driver):
        pausing.pause("first-paused")
        pausing.resume("first-paused")
    driver.override("first-paused", limit=1)
    other.override("first-paused")
    assert other.requeue("a")[0].changed
    assert [other.get("a"), driver.get("a")] == [driver.get("a")] * 2
    other.put(spec(id="b", task="first-paused"))
    assert driver.work(2, tasks=["first-paused"]) == ["a", "b"]
    assert driver.run(driver.queue.audit()).differences == ()


def test_the_tokens_of_a_rate_that_comes_back_are_still_taken(driver: Driver) -> None:
    driver.override("rated", rate="1/h")
    driver.put(*[spec(id=id, task="rated") for id in "ab"])
    assert driver.work(2, tasks=["rated"]) == ["a"]
    driver.cancel("b")
    driver.override("rated")
    driver.override("rated", rate="1/h")
    driver.put(spec(id="c", task="rated"))
    assert driver.work(2, tasks=["rated"]) == []
