"""Each number that may reach a store has one range, and each way in checks it: a FifoqError names the number."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifoq import Fifoq, FifoqError, Limit, Rate, Retry
from fifoq.clock import MAX_SECONDS, SECOND, microseconds
from fifoq.limits import MOST
from fifoq.worker import WorkerSettings

EXACT = 2**53
"""Up to here, a number is exact in every store."""


def task(**settings: Any) -> Any:
    @Fifoq().task(**settings)
    async def work() -> None: ...

    return work


DURATIONS: dict[str, Callable[[Any], Any]] = {
    "backoff": lambda seconds: Retry(backoff=seconds),
    "max_delay": lambda seconds: Retry(max_delay=seconds),
    "timeout": lambda seconds: task(timeout=seconds),
    "retain of a task": lambda seconds: task(retain=seconds),
    "delay": lambda seconds: task().options(delay=seconds),
    "expires": lambda seconds: task().options(expires=seconds),
    "retain": lambda seconds: task().options(retain=seconds),
    "wait": lambda seconds: task().options(wait=seconds),
    "enqueue_timeout": lambda seconds: task().options(enqueue_timeout=seconds),
    "lease": lambda seconds: Fifoq(lease=seconds).worker(),
    "grace": lambda seconds: Fifoq(grace=seconds).worker(),
    "patience": lambda seconds: Fifoq(patience=seconds).worker(),
    "grace of a worker": lambda seconds: Fifoq().worker(grace=seconds),
    "lease of WorkerSettings": lambda seconds: WorkerSettings(lease=seconds),
    "grace of WorkerSettings": lambda seconds: WorkerSettings(grace=seconds),
    "time of a rate": lambda seconds: Rate(1, per=seconds),
}
COUNTS: dict[str, Callable[[Any], Any]] = {
    "width": Limit,
    "limit": lambda count: task(limit=count),
    "limit of a queue": lambda count: Fifoq().queue("q", limit=count),
    "capacity": lambda count: task(capacity=count),
    "capacity of a queue": lambda count: Fifoq().queue("q", capacity=count),
    "burst": lambda count: Rate(MOST, burst=count),
    "count of a rate": lambda count: Rate(count),
    "concurrency": lambda count: Fifoq().worker(concurrency=count),
    "threads": lambda count: Fifoq().worker(threads=count),
    "concurrency of WorkerSettings": lambda count: WorkerSettings(concurrency=count),
}
outside_floats = st.floats().filter(lambda number: not 0 <= number <= MAX_SECONDS)


@pytest.mark.parametrize("way", DURATIONS)
@given(seconds=st.one_of(outside_floats, st.integers(min_value=int(MAX_SECONDS) + 1), st.integers(max_value=-1)))
def test_no_way_in_takes_a_duration_outside_the_range(way: str, seconds: Any) -> None:
    with pytest.raises(FifoqError) as raised:
        DURATIONS[way](seconds)
    assert repr(seconds) in str(raised.value)


@pytest.mark.parametrize("way", DURATIONS)
@pytest.mark.parametrize("seconds", [1, 0.5, MAX_SECONDS])
def test_each_way_in_takes_a_duration_within_the_range(way: str, seconds: float) -> None:
    DURATIONS[way](seconds)


@pytest.mark.parametrize("way", COUNTS)
@given(count=st.one_of(st.integers(max_value=0), st.integers(min_value=MOST + 1), st.just(math.inf), st.just(math.nan)))
def test_no_way_in_takes_a_count_outside_the_range(way: str, count: Any) -> None:
    with pytest.raises(FifoqError) as raised:
        COUNTS[way](count)
    assert repr(count) in str(raised.value)


@pytest.mark.parametrize("way", COUNTS)
@pytest.mark.parametrize("count", [1, MOST])
def test_each_way_in_takes_a_count_within_the_range(way: str, count: int) -> None:
    COUNTS[way](count)


@given(count=st.floats(), per=st.floats(), burst=st.integers(-1, 2 * MOST))
def test_a_rate_fills_its_burst_in_a_time_that_each_store_holds_exactly_or_is_refused(
    count: float, per: float, burst: int
) -> None:
    try:
        rate = Rate(count, per, burst)
    except FifoqError:
        return
    assert rate.interval * rate.burst <= MAX_SECONDS * SECOND + MOST
    assert datetime.now(UTC).timestamp() * SECOND + rate.interval * rate.burst < EXACT


def test_a_time_of_the_longest_duration_from_now_is_exact_in_each_store() -> None:
    assert datetime.now(UTC).timestamp() * SECOND + 2 * microseconds(MAX_SECONDS) < EXACT


def test_a_job_begins_at_most_100_years_ahead() -> None:
    work = task()
    work.options(at=datetime.now(UTC) + timedelta(seconds=MAX_SECONDS - 60))
    for at in (datetime.max.replace(tzinfo=UTC), datetime.now(UTC) + timedelta(seconds=MAX_SECONDS + 60)):
        with pytest.raises(FifoqError, match="'at' is at most 100 years ahead"):
            work.options(at=at)


@pytest.mark.parametrize("timeout", [math.nan, -1.0, -math.inf])
async def test_a_wait_of_no_length_ends_at_once(timeout: float) -> None:
    tasks = Fifoq("memory://")

    @tasks.task
    async def work() -> None: ...

    async with tasks:
        job = await work.enqueue()
        with pytest.raises(TimeoutError):
            await job.result(timeout)
        assert await tasks.finished(job.id, timeout=timeout) is None
