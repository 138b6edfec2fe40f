"""Whatever a function raises, wherever and whenever: its job has one outcome, its key opens, and its slot is free."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifoq.clock import MAX_SECONDS, SECOND
from fifoq.errors import RetryAfter
from fifoq.queue import Backend
from fifoq.record import Fail, JobSpec, Lease, Outcome, Release, Retry, Settlement, State, Succeed
from fifoq.retry import Retry as RetryPolicy
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue
from fifoq.worker.outcomes import outcome_of
from fifoq.worker.run import Plan, Run
from tests.fifoq.worker.exceptions import (
    EXITS,
    Moment,
    classes,
    exit_below,
    made,
    plain_classes,
    raise_async,
    raise_plain,
    raise_plain_async,
)

ONCE = RetryPolicy(1)


class CountsOutcomes(WrappedQueue):
    """A queue that counts the outcomes of each job. That one was claimed ahead and handed back is none."""

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self.settled: Counter[str] = Counter()

    async def settle(self, call: Any, settlements: Sequence[Settlement]) -> Any:
        self.settled.update(each.id for each in settlements if not isinstance(each.outcome, Release))
        return await self._queue.settle(call, settlements)


async def each_ends_once(shop: Any, backend: Backend, function: Any, calls: Sequence[Any], **task: Any) -> None:
    """Run one job of each call, each with a key of its own, and one behind it; all end, and each of them once."""

    async def behind() -> int:
        return 1

    raising, follower = shop.task(function, retry=ONCE, **task), shop.task(behind)
    counted = WrappedBackend(backend, CountsOutcomes)
    for n, arguments in enumerate(calls):
        await shop.put(raising, *arguments, key=str(n), id=f"raising-{n}")
        await shop.put(follower, key=str(n), id=f"behind-{n}")
    worker = shop.worker(backend=counted, concurrency=3, threads=3, processes=1, lease=600.0)
    await asyncio.wait_for(worker.drain(), 120)
    for n, arguments in enumerate(calls):
        job = await shop.job(f"raising-{n}")
        assert (job.state, job.attempt) == (State.FAILED, 1), (arguments, job)
        assert job.error.type, arguments
        assert (await shop.job(f"behind-{n}")).result == 1, arguments
    assert set(counted.queue("default").settled.values()) == {1}


@pytest.mark.parametrize("moment", Moment)
async def test_in_the_loop(shop: Any, backend: Backend, moment: Moment) -> None:
    kinds = classes()

    async def fail(n: int) -> None:
        await raise_async(kinds[n], moment)

    await each_ends_once(shop, backend, fail, [[n] for n in range(len(kinds))])


async def test_in_a_thread(shop: Any, backend: Backend) -> None:
    kinds = classes()

    def fail(n: int) -> None:
        raise made(kinds[n])

    await each_ends_once(shop, backend, fail, [[n] for n in range(len(kinds))])


async def test_in_a_child_process(shop: Any, backend: Backend) -> None:
    calls = [[n] for n in range(len(plain_classes()))]
    await each_ends_once(shop, backend, raise_plain, calls, run_in="process")


async def test_in_the_loop_of_a_child_process(shop: Any, backend: Backend) -> None:
    calls = [[n, moment] for n in range(len(plain_classes())) for moment in Moment]
    await each_ends_once(shop, backend, raise_plain_async, calls, run_in="process")


@pytest.mark.parametrize("run_in", ["loop", "process"])
async def test_an_exit_in_a_task_that_a_job_makes_ends_that_job(shop: Any, backend: Backend, run_in: str) -> None:
    await each_ends_once(shop, backend, exit_below, [[n] for n in range(len(EXITS))], run_in=run_in)


# ---- the judge ----


def judged(shop: Any, error: BaseException, **task: Any) -> Outcome | None:
    async def fail() -> None: ...

    plan = Plan(shop.task(fail, **task), None)  # type: ignore[arg-type]
    lease = Lease(JobSpec("1", "fail", b""), "t", 1, 1, 1, 1, 0, 0, 0)
    return outcome_of(Run("default", lambda *_: None, plan, lease, 0.0), error)


def with_seconds(seconds: Any) -> RetryAfter:
    error = RetryAfter(0.0)
    error.seconds = seconds
    return error


@given(seconds=st.one_of(st.floats(), st.integers(), st.none(), st.text(), st.decimals(), st.just(10**400)))
def test_the_wait_of_a_retry_is_within_the_range_of_durations_or_the_job_fails(seconds: Any) -> None:
    from tests.fifoq.worker.conftest import Shop

    outcome = judged(Shop(None), with_seconds(seconds))  # type: ignore[arg-type]
    if isinstance(outcome, Retry):
        assert 0 <= outcome.after <= MAX_SECONDS * SECOND
        assert outcome.after >= round(max(0.0, float(seconds)) * SECOND * 1e3) / 1e3
    else:
        assert isinstance(outcome, Fail)
        assert b"RetryAfter" in outcome.error


def test_an_error_that_cannot_be_judged_fails_the_job_and_both_errors_are_told(shop: Any) -> None:
    outcome = judged(shop, with_seconds(float("inf")))
    assert isinstance(outcome, Fail)
    assert b"retry after 0 s" in outcome.error
    assert b"not inf" in outcome.error


# ---- outcomes that a store cannot take ----


class Refuses(WrappedQueue):
    """A queue that cannot take the outcomes of some jobs, as if one did not fit into its numbers."""

    refused: Callable[[Settlement], bool] = staticmethod(
        lambda each: each.id == "bad" and isinstance(each.outcome, Succeed)
    )

    async def settle(self, call: Any, settlements: Sequence[Settlement]) -> Any:
        if any(self.refused(each) for each in settlements):
            raise OverflowError("int too large")
        return await self._queue.settle(call, settlements)


async def test_an_outcome_that_the_store_cannot_take_fails_its_own_job_and_holds_up_no_other(
    shop: Any, backend: Backend
) -> None:
    async def fine(n: int) -> int:
        return n

    task = shop.task(fine)
    await shop.put_all([shop.spec(task, n, id="bad" if n == 3 else str(n)) for n in range(7)])
    worker = shop.worker(backend=WrappedBackend(backend, Refuses))
    await asyncio.wait_for(worker.drain(), 30)
    assert {n: (await shop.job(str(n))).result for n in range(7) if n != 3} == {n: n for n in range(7) if n != 3}
    bad = await shop.job("bad")
    assert (bad.state, bad.error.type, bad.attempt) == (State.FAILED, "OutcomeNotStorable", 1)
    assert "OverflowError: int too large" in bad.error.message
