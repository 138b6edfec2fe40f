"""The outcome of a job, by how its function ends."""

import asyncio
from typing import Any

import pytest

from fifoq.calls import Caller
from fifoq.codec import pack
from fifoq.errors import GiveUp, RetryAfter
from fifoq.record import Fail, JobSpec, Lease, Retry, State
from fifoq.retry import Retry as RetryPolicy
from fifoq.task.context import Context
from fifoq.worker.outcomes import before_start, outcome_of
from fifoq.worker.run import Plan, Run

SOON = RetryPolicy(3, backoff=0.001)


async def outcome(shop: Any, function: Any, *args: Any, **definition: Any) -> Any:
    task = shop.task(function, **definition)
    id = await shop.put(task, *args)
    async with shop.worker():
        return await shop.ended(id)


async def test_the_value_that_a_function_returns_is_the_result(shop: Any) -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    job = await outcome(shop, add, 2, 3)
    assert (job.state, job.result, job.attempt) == (State.SUCCEEDED, 5, 1)


async def test_a_sync_function_returns_its_result_too(shop: Any) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    assert (await outcome(shop, add, 2, 3)).result == 5


@pytest.mark.parametrize("sync", [False, True])
async def test_an_exception_is_tried_again_until_attempts_are_spent(shop: Any, sync: bool) -> None:
    attempts = []

    def fail(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise ValueError(f"no {ctx.attempt}")

    async def fail_async(ctx: Context) -> None:
        fail(ctx)

    job = await outcome(shop, fail if sync else fail_async, retry=SOON)
    assert (job.state, attempts, job.attempt) == (State.FAILED, [1, 2, 3], 3)
    assert (job.error.type, job.error.message) == ("ValueError", "no 3")
    assert "raise ValueError" in job.error.traceback
    assert "in perform" not in job.error.traceback, "the worker's own frames are cut off"


async def test_a_retry_that_succeeds_succeeds(shop: Any) -> None:
    async def second_time(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise ValueError
        return ctx.attempt

    job = await outcome(shop, second_time, retry=SOON)
    assert (job.state, job.result, job.error) == (State.SUCCEEDED, 2, None)


async def test_an_exception_that_is_not_to_be_retried_fails_at_once(shop: Any) -> None:
    async def fail() -> None:
        raise ValueError

    job = await outcome(shop, fail, retry=RetryPolicy(9, backoff=0.001, on=(KeyError,)))
    assert (job.state, job.attempt) == (State.FAILED, 1)


async def test_give_up_fails_whatever_attempts_are_left(shop: Any) -> None:
    async def fail() -> None:
        raise GiveUp("no such match")

    job = await outcome(shop, fail, retry=SOON)
    assert (job.state, job.attempt, job.error.message) == (State.FAILED, 1, "no such match")


async def test_retry_after_counts_an_attempt_and_sets_the_time(shop: Any) -> None:
    async def later() -> None:
        raise RetryAfter(0.01)

    job = await outcome(shop, later, retry=RetryPolicy(2, backoff=1000.0, on=(KeyError,)))
    assert (job.state, job.attempt) == (State.FAILED, 2)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(), BaseException("odd")])
@pytest.mark.parametrize("sync", [False, True])
async def test_whatever_a_function_raises_the_worker_lives(shop: Any, error: BaseException, sync: bool) -> None:
    def fail() -> None:
        raise error

    async def fail_async() -> None:
        raise error

    async def fine() -> int:
        return 1

    first = await shop.put(shop.task(fail if sync else fail_async, retry=RetryPolicy(1)))
    second = await shop.put(shop.task(fine))
    async with shop.worker(concurrency=1):
        assert (await shop.ended(first)).state is State.FAILED
        assert (await shop.ended(second)).result == 1


async def test_a_cancelled_error_of_its_own_is_an_error_like_any_other(shop: Any) -> None:
    async def cancels(ctx: Context) -> int:
        if ctx.attempt == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return ctx.attempt

    assert (await outcome(shop, cancels, retry=SOON)).result == 2


@pytest.mark.parametrize("concurrency", [1, 10])
async def test_a_cancel_of_its_own_hits_no_other_job(shop: Any, concurrency: int) -> None:
    async def cancels_and_leaves() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def fine() -> int:
        await asyncio.sleep(0)
        return 1

    await shop.put(shop.task(cancels_and_leaves, retry=RetryPolicy(1)))
    task = shop.task(fine, retry=RetryPolicy(1))
    ids = [await shop.put(task) for _ in range(3)]
    async with shop.worker(concurrency=concurrency):
        assert [(await shop.ended(id)).result for id in ids] == [1, 1, 1]


async def test_a_result_that_cannot_be_sent_fails_the_job_clearly(shop: Any) -> None:
    async def odd() -> Any:
        return object()

    job = await outcome(shop, odd, retry=SOON)
    assert (job.state, job.attempt) == (State.FAILED, 1)
    assert "result" in job.error.message


async def test_a_result_that_is_too_large_fails_the_job_clearly(shop: Any) -> None:
    async def large() -> str:
        return "x" * 2_000

    task = shop.task(large, retry=SOON)
    task.signature.limit = 1_000
    id = await shop.put(task)
    async with shop.worker():
        job = await shop.ended(id)
    assert (job.state, job.attempt) == (State.FAILED, 1)
    assert "1,000" in job.error.message


@pytest.mark.parametrize("payload", [b"", b"\xc1", pack([1, 2]), pack([["x"], {}]), pack([[], {}])])
@pytest.mark.parametrize("sync", [False, True])
async def test_a_payload_that_cannot_be_read_fails_the_job_at_once(shop: Any, payload: bytes, sync: bool) -> None:
    def double(a: int) -> int:
        return 2 * a

    async def double_async(a: int) -> int:
        return 2 * a

    task = shop.task(double if sync else double_async, retry=SOON)
    id = await shop.put(task, 1, payload=payload)
    async with shop.worker():
        job = await shop.ended(id)
    assert (job.state, job.attempt) == (State.FAILED, 1)


async def test_a_broken_exception_is_stored_all_the_same(shop: Any) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    async def fail() -> None:
        raise Broken

    job = await outcome(shop, fail, retry=RetryPolicy(1))
    assert (job.state, job.error.type) == (State.FAILED, "Broken")


async def test_a_failure_with_halt_closes_the_key(shop: Any) -> None:
    async def fail() -> None:
        raise ValueError

    task = shop.task(fail, retry=RetryPolicy(1), halt=True)
    first = await shop.put(task, key="k")
    second = await shop.put(task, key="k")
    await shop.worker().drain()
    assert (await shop.job(first)).halted
    assert (await shop.job(second)).state is State.WAITING


async def test_retain_zero_removes_the_job_as_it_ends(shop: Any) -> None:
    async def fine() -> None: ...

    await shop.put(shop.task(fine, results_kept=0))
    await shop.worker().drain()
    assert await shop.states() == {}


def _outcome(shop: Any, attempt: int, crashes: int, error: BaseException, **definition: Any) -> Any:
    async def task() -> None: ...

    plan = Plan(shop.task(task, **definition), None)  # type: ignore[arg-type]
    lease = Lease(JobSpec("1", "task", b""), "t", 1, 1, 1, attempt, crashes, 0, 0)
    run = Run("default", lambda run, outcome: None, plan, lease, 0.0)
    return before_start(run) or outcome_of(run, error)


async def test_crashes_count_against_the_crash_budget_and_not_against_the_attempts(shop: Any) -> None:
    policy = RetryPolicy(2, backoff=0.0)
    assert isinstance(_outcome(shop, 3, 2, ValueError(), retry=policy), Retry)
    assert isinstance(_outcome(shop, 4, 2, ValueError(), retry=policy), Fail)


async def test_a_spent_crash_budget_fails_the_job_without_running_it(shop: Any) -> None:
    assert isinstance(_outcome(shop, 3, 2, ValueError(), max_crashes=3), Retry)
    spent = _outcome(shop, 4, 3, ValueError(), max_crashes=3)
    assert isinstance(spent, Fail)
    assert b"max_crashes=3" in spent.error


async def test_the_back_off_grows_with_the_tries_and_not_with_the_crashes(shop: Any) -> None:
    policy = RetryPolicy(9, backoff=1.0, jitter=False)
    assert _outcome(shop, 2, 0, ValueError(), retry=policy).after == 2_000_000
    assert _outcome(shop, 4, 2, ValueError(), retry=policy).after == 2_000_000


async def test_a_retry_after_below_zero_is_at_once(shop: Any) -> None:
    assert _outcome(shop, 1, 0, RetryAfter(-5.0)).after == 0


async def test_a_job_that_killed_enough_workers_is_not_run_again(shop: Any) -> None:
    ran = []

    async def poison() -> None:
        ran.append(1)

    id = await shop.put(shop.task(poison, max_crashes=1))
    queue = shop.backend.queue("default")
    await Caller().attempt(lambda call: queue.claim(call, "dead", 1, 1_000, ["poison"]))
    await asyncio.sleep(0.002)
    async with shop.worker():
        job = await shop.ended(id)
    assert (job.state, job.crashes, ran) == (State.FAILED, 1, [])
    assert job.error.type == "TooManyCrashes"
