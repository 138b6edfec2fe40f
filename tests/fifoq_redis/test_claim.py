"""Claims that the server makes ahead for a waiting backend: the calls that they save, and the cases without them."""

import asyncio
import time
from typing import Any

import pytest

from fifoq.clock import SECOND
from fifoq.errors import OutcomeUnknown
from fifoq.limits import GateSettings
from fifoq.queue import Declare, Override, Queue
from fifoq.record import Claimed, Lease, Release, Retry, Settlement, State
from fifoq.testing import AsyncDriver, ManualClock
from fifoq_redis import pubsub
from fifoq_redis.keys import Keys
from tests.fifoq_redis.conftest import LONG, Waiter, job
from tests.servers import Server


def ids(claimed: Claimed) -> list[str]:
    return [lease.spec.id for lease in claimed.leases]


async def running(queue: Queue) -> int:
    stats = await queue.stats()
    return stats.running


async def put_back(driver: AsyncDriver, lease: Lease, outcome: Retry | Release) -> None:
    await driver.queue.settle(driver.call(), [Settlement(lease.spec.id, lease.token, outcome)])


async def test_a_put_leases_its_job_to_a_waiting_backend_which_needs_no_call_for_it(
    driver: AsyncDriver, waiter: Waiter
) -> None:
    assert (await waiter.leave_claim()).stands
    before = time.monotonic()
    await driver.put(job("a"))
    assert await running(driver.queue) == 1
    await waiter.notified()
    sends = waiter.sends()
    claimed = await waiter.claim()
    assert ids(claimed) == ["a"]
    assert waiter.sends() == sends
    assert claimed.since is not None
    assert claimed.since < before
    assert await waiter.driver.succeed_all(*claimed.leases) == (State.SUCCEEDED,)
    assert (await driver.queue.audit()).differences == ()


async def test_no_more_jobs_than_requested_are_claimed_ahead_and_other_backends_get_the_rest(
    any_redis_server: Server, driver: AsyncDriver, waiter: Waiter
) -> None:
    other = Waiter(any_redis_server.url)
    await other.open()
    await waiter.leave_claim(2)
    await other.leave_claim(3)
    await driver.put(*[job(f"{n}") for n in range(4)])
    await waiter.notified()
    await other.notified()
    assert ids(await waiter.claim()) == ["0", "1"]
    assert ids(await other.claim()) == ["2", "3"]
    await other.close()


async def test_only_known_tasks_are_claimed_ahead(driver: AsyncDriver, waiter: Waiter) -> None:
    await waiter.leave_claim(tasks=("task", "more"))
    await driver.put(job("a", task="unknown"), job("b", task="more"), job("c"))
    await waiter.notified()
    assert ids(await waiter.claim()) == ["b", "c"]


@pytest.mark.parametrize("outcome", [Retry(0, b"error", 0), Release(0, 0)])
async def test_a_job_that_is_put_back_goes_to_a_waiting_backend(
    driver: AsyncDriver, waiter: Waiter, outcome: Retry | Release
) -> None:
    await driver.put(job("a", "k"), job("b", "k"))
    (lease,) = await driver.leases()
    await waiter.leave_claim()
    await put_back(driver, lease, outcome)
    await waiter.notified()
    assert ids(await waiter.claim()) == ["a"]


async def test_the_end_of_a_lease_leases_the_next_job_of_its_key_to_a_waiting_backend(
    driver: AsyncDriver, waiter: Waiter
) -> None:
    await driver.put(job("a", "k"), job("b", "k"))
    (lease,) = await driver.leases()
    await waiter.leave_claim()
    await driver.succeed(lease)
    await waiter.notified()
    assert ids(await waiter.claim()) == ["b"]
    assert (await driver.queue.audit()).differences == ()


async def test_limits_and_pauses_hold_for_claims_made_ahead(driver: AsyncDriver, waiter: Waiter) -> None:
    await driver.queue.configure([Declare(None, GateSettings(limit=1))])
    await waiter.leave_claim()
    await driver.put(job("a"), job("b"))
    await waiter.notified()
    assert ids(await waiter.claim()) == ["a"]
    assert ids(await waiter.leave_claim()) == []
    await driver.put(job("c"))
    assert await running(driver.queue) == 1
    await waiter.notified()
    assert ids(await waiter.leave_claim()) == []
    await driver.queue.configure([Override(None, GateSettings(limit=2))])
    assert await running(driver.queue) == 2
    assert (await driver.queue.audit()).differences == ()


async def test_a_claim_made_ahead_whose_notification_is_lost_is_the_reply_to_the_next_claim(
    driver: AsyncDriver, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiter.leave_claim()
    waiter.lose_notifications(monkeypatch)
    await driver.put(job("a"))
    assert await running(driver.queue) == 1
    claimed = await waiter.claim()
    assert ids(claimed) == ["a"]
    assert claimed.since is not None


async def test_a_backend_that_fetches_a_claim_made_ahead_is_registered_as_a_waiter(
    driver: AsyncDriver, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It claims once more for that: its call was answered with a stored reply, and registered no waiter."""
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 2 * LONG)
    await waiter.leave_claim()
    with monkeypatch.context() as patch:
        waiter.lose_notifications(patch)
        await driver.put(job("a"))
        await asyncio.sleep(0.05)
    assert ids(await waiter.leave_claim()) == ["a"]
    await waiter.notified()
    waiter.wait()
    await asyncio.sleep(0.05)
    await driver.put(job("b"))
    await waiter.notified()
    assert ids(await waiter.claim()) == ["b"]


async def test_a_backend_that_registers_again_after_such_a_loss_is_notified_to_claim(
    driver: AsyncDriver, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 0.1)
    await waiter.leave_claim()
    waiter.lose_notifications(monkeypatch)
    await driver.put(job("a"))
    await waiter.notified()
    assert ids(await waiter.claim()) == ["a"]


async def test_no_claim_is_made_ahead_for_a_backend_without_a_subscription(
    any_redis_server: Server, driver: AsyncDriver, waiter: Waiter
) -> None:
    gone = Waiter(any_redis_server.url)
    await gone.open()
    await gone.leave_claim()
    await asyncio.gather(*[one.close() for one in gone.backend._open_store()._subscriptions.values()])
    await waiter.leave_claim()
    await driver.put(job("a"))
    await waiter.notified()
    assert ids(await waiter.claim()) == ["a"]
    await gone.close()


async def test_no_claim_is_made_ahead_for_a_backend_that_has_left(driver: AsyncDriver, waiter: Waiter) -> None:
    await waiter.leave_claim()
    assert not (await waiter.claim(0)).stands
    await driver.put(job("a"))
    assert await running(driver.queue) == 0


@pytest.mark.parametrize(("lease", "ahead"), [(15.0, 1.0), (2.0, 0.5)])
async def test_a_backend_that_may_hang_is_notified_to_claim_instead(
    any_redis_server: Server, lease: float, ahead: float
) -> None:
    """A claim stands for a second, or a quarter of the lease, so that its leases are still good when they arrive."""
    clock = ManualClock()
    waiter, other = Waiter(any_redis_server.url, clock=clock), Waiter(any_redis_server.url, clock=clock)
    for one in (waiter, other):
        await one.open()
    await other.queue.configure([])
    for seconds, leased in ((ahead, 1), (ahead + 0.001, 0)):
        await waiter.leave_claim(lease=lease)
        clock.advance(seconds)
        await other.driver.put(job(f"{seconds}"))
        assert await running(other.queue) == leased
        await waiter.notified()
        claimed = await waiter.claim()
        assert ids(claimed) == [f"{seconds}"]
        await waiter.driver.succeed_all(*claimed.leases)
    for one in (waiter, other):
        await one.backend.close()


async def test_due_timers_are_left_to_the_next_claim(any_redis_server: Server) -> None:
    """A settle fires no timers, so a claim made ahead by it might pass over a job that is due earlier."""
    clock = ManualClock()
    waiter, other = Waiter(any_redis_server.url, clock=clock), Waiter(any_redis_server.url, clock=clock)
    for one in (waiter, other):
        await one.open()
    await other.queue.configure([])
    await other.driver.put(job("a", "k"), job("b", "k"), job("c", delay=SECOND // 2, priority=9))
    (lease,) = (await other.claim(1)).leases
    await waiter.leave_claim()
    clock.advance(0.6)
    await other.driver.succeed(lease)
    assert await running(other.queue) == 0
    await waiter.notified()
    assert ids(await waiter.claim()) == ["c", "b"]
    for one in (waiter, other):
        await one.backend.close()


async def test_a_reply_too_long_for_a_notification_is_fetched(driver: AsyncDriver, waiter: Waiter) -> None:
    await waiter.leave_claim()
    await driver.put(job("a", payload=b"x" * 100_000))
    assert await running(driver.queue) == 1
    await waiter.notified()
    sends = waiter.sends()
    claimed = await waiter.claim()
    assert ids(claimed) == ["a"]
    assert claimed.since is not None
    assert waiter.sends() == sends + 1


async def test_a_claim_that_crosses_the_one_made_ahead_brings_the_same(driver: AsyncDriver, waiter: Waiter) -> None:
    """The put arrives first and makes the claim ahead; the claim on its way gets the same reply, as a repeat."""
    for number in range(20):
        await waiter.leave_claim()
        claimed, _ = await asyncio.gather(waiter.claim(), driver.put(job(f"{number}")))
        if not claimed.leases:
            claimed = await waiter.claim()
        assert ids(claimed) == [f"{number}"]
        await waiter.driver.succeed_all(*claimed.leases)
    assert (await driver.queue.audit()).differences == ()


async def test_the_reply_before_the_one_made_ahead_is_kept_too(driver: AsyncDriver, waiter: Waiter) -> None:
    """Its caller may not have received it: its leases must not be lost because another call was made."""
    await driver.put(job("a"))
    (lease,) = (await waiter.leave_claim()).leases
    await driver.put(job("b"))
    await waiter.notified()
    assert (await waiter.repeat()).leases == (lease,)
    assert ids(await waiter.claim()) == ["b"]
    assert ids(await waiter.repeat()) == ["b"]


async def test_a_claim_that_was_used_up_is_not_made_again(
    driver: AsyncDriver, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiter.leave_claim()
    # The claim then registers no waiter.
    monkeypatch.setattr(waiter.backend._open_store(), "is_subscribed", lambda key: False)
    assert ids(await waiter.claim()) == []
    await driver.put(job("a"))
    assert await running(driver.queue) == 0
    await waiter.notified()
    assert ids(await waiter.claim()) == ["a"]


async def test_a_claim_is_not_made_ahead_for_jobs_that_the_callers_own_claim_has_left(any_redis_server: Server) -> None:
    clock = ManualClock()
    waiter = Waiter(any_redis_server.url, clock=clock)
    await waiter.open()
    await waiter.driver.put(job("a", delay=SECOND // 2), job("b", delay=SECOND // 2))
    await waiter.leave_claim()
    clock.advance(0.6)
    assert ids(await waiter.claim(1)) == ["a"]
    assert ids(await waiter.claim(1)) == ["b"]
    await waiter.close()


async def test_a_claim_whose_reply_was_lost_lets_no_other_be_made_ahead(
    driver: AsyncDriver, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 0.02)
    await waiter.leave_claim()
    with monkeypatch.context() as patch:
        patch.setattr(waiter.backend._open_store().caller, "call", lost)
        with pytest.raises(OutcomeUnknown):
            await waiter.claim(ahead=2)
    await asyncio.sleep(0.1)  # the waiter registers again meanwhile
    await driver.put(job("a"))
    assert await running(driver.queue) == 0
    assert ids(await waiter.repeat()) == ["a"]


async def lost(*_: Any, **__: Any) -> Any:
    raise OutcomeUnknown("No reply came.")


async def test_a_wait_while_a_claim_is_on_its_way_does_not_take_the_claim_back(
    driver: AsyncDriver, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiter.claim()  # so that no change is left to report
    go = hold_replies(waiter, monkeypatch, "claim")
    claim = asyncio.create_task(waiter.leave_claim())
    await asyncio.sleep(0.05)  # a waiter registers after 2 ms, unless a claim does
    await driver.put(job("a"))
    assert await running(driver.queue) == 1
    go.set()
    assert ids(await claim) == []
    assert ids(await waiter.claim()) == ["a"]


@pytest.mark.parametrize("verb", ["listen", "claim"])
async def test_a_notification_that_overtakes_the_reply_of_its_registration_loses_no_later_one(
    driver: AsyncDriver, waiter: Waiter, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """They arrive on two connections."""
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 2 * LONG)
    await waiter.claim(ahead=2)
    if verb == "listen":
        go = hold_replies(waiter, monkeypatch, verb)
        waiter.wait()
        await asyncio.sleep(0.05)
        await driver.put(job("a"))
        await asyncio.sleep(0.05)
        go.set()
    else:
        go = hold_replies(waiter, monkeypatch, verb)
        claim = asyncio.create_task(waiter.leave_claim())
        await asyncio.sleep(0.05)
        await driver.put(job("a"))
        await asyncio.sleep(0.05)
        go.set()
        await claim
    await waiter.notified()
    assert ids(await waiter.claim(ahead=2)) == ["a"]
    waiter.wait()
    await asyncio.sleep(0.05)
    await driver.put(job("b"))
    await waiter.notified()
    assert ids(await waiter.claim()) == ["b"]


def hold_replies(waiter: Waiter, monkeypatch: pytest.MonkeyPatch, verb: str) -> asyncio.Event:
    """Hold the replies of a verb back until the event is set."""
    caller = waiter.backend._open_store().caller
    go, call = asyncio.Event(), caller.call

    async def slow(keys: Any, called: str, *values: Any, **rest: Any) -> Any:
        reply = await call(keys, called, *values, **rest)
        if called == verb:
            await go.wait()
        return reply

    monkeypatch.setattr(caller, "call", slow)
    return go


async def test_the_subscription_follows_the_calls_to_another_server(waiter: Waiter) -> None:
    """After a failover the old server may still run: no notification arrives on its connection any more."""
    store, key = waiter.backend._open_store(), Keys.of("fifoq", "queue").state
    assert store.is_subscribed(key)
    for node in store.topology.nodes():
        node.moves += 1
    assert not store.is_subscribed(key)
    assert await store.subscribe(key, LONG)


async def test_a_backend_that_was_given_a_job_is_notified_of_the_next(
    driver: AsyncDriver, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any pause: a backend with a stored reply makes no call, and must be registered all the same."""
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 2 * LONG)
    begun = time.monotonic()
    for number in range(60):
        await waiter.leave_claim()
        for part in "ab":
            await asyncio.sleep(number % 6 * 0.001)
            await driver.put(job(f"{number}{part}"))
            await waiter.notified()
            claimed = await waiter.claim(ahead=2)
            assert ids(claimed) == [f"{number}{part}"]
            await waiter.driver.succeed_all(*claimed.leases)
            waiter.wait()
    assert time.monotonic() - begun < LONG
    assert (await driver.queue.audit()).differences == ()
