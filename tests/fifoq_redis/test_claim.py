"""What is claimed ahead for who waits: what it saves, and when it is not done."""

import asyncio
import time
from typing import Any

import pytest

from fifoq.clock import SECOND
from fifoq.errors import OutcomeUnknown
from fifoq.limits import GateSettings
from fifoq.queue import Declare, Override, Queue
from fifoq.record import Claimed, Lease, Release, Retry, Settlement, State
from fifoq.testing.clock import ManualClock
from fifoq_redis import pubsub
from tests.fifoq_redis.conftest import LONG, Line, Waiter, job
from tests.servers import Server


def ids(claimed: Claimed) -> list[str]:
    return [lease.spec.id for lease in claimed.leases]


async def running(queue: Queue) -> int:
    stats = await queue.stats()
    return stats.running


async def back(line: Line, lease: Lease, outcome: Retry | Release) -> None:
    await line.queue.settle(line.call(), [Settlement(lease.spec.id, lease.token, outcome)])


async def test_a_put_leases_its_job_to_who_waits_who_need_not_ask(line: Line, waiter: Waiter) -> None:
    assert (await waiter.leave_claim()).stands
    before = time.monotonic()
    await line.put(job("a"))
    assert await running(line.queue) == 1
    await waiter.told()
    calls = waiter.calls()
    claimed = await waiter.claim()
    assert ids(claimed) == ["a"]
    assert waiter.calls() == calls
    assert claimed.since is not None
    assert claimed.since < before
    assert await waiter.line.succeed_all(*claimed.leases) == (State.SUCCEEDED,)
    assert (await line.queue.audit()).differences == ()


async def test_what_was_claimed_ahead_is_no_more_than_was_asked_for_and_the_rest_is_told_to_others(
    any_redis_server: Server, line: Line, waiter: Waiter
) -> None:
    other = Waiter(any_redis_server.url)
    await other.open()
    await waiter.leave_claim(2)
    await other.leave_claim(3)
    await line.put(*[job(f"{n}") for n in range(4)])
    await waiter.told()
    await other.told()
    assert ids(await waiter.claim()) == ["0", "1"]
    assert ids(await other.claim()) == ["2", "3"]
    await other.close()


async def test_only_known_tasks_are_claimed_ahead(line: Line, waiter: Waiter) -> None:
    await waiter.leave_claim(tasks=("task", "more"))
    await line.put(job("a", task="unknown"), job("b", task="more"), job("c"))
    await waiter.told()
    assert ids(await waiter.claim()) == ["b", "c"]


@pytest.mark.parametrize("outcome", [Retry(0, b"error", 0), Release(0, 0)])
async def test_a_job_that_is_put_back_goes_to_who_waits(line: Line, waiter: Waiter, outcome: Retry | Release) -> None:
    await line.put(job("a", "k"), job("b", "k"))
    (lease,) = await line.leases()
    await waiter.leave_claim()
    await back(line, lease, outcome)
    await waiter.told()
    assert ids(await waiter.claim()) == ["a"]


async def test_the_end_of_a_lease_leases_the_next_of_its_key_to_who_waits(line: Line, waiter: Waiter) -> None:
    await line.put(job("a", "k"), job("b", "k"))
    (lease,) = await line.leases()
    await waiter.leave_claim()
    await line.succeed(lease)
    await waiter.told()
    assert ids(await waiter.claim()) == ["b"]
    assert (await line.queue.audit()).differences == ()


async def test_limits_and_pauses_hold_for_what_is_claimed_ahead(line: Line, waiter: Waiter) -> None:
    await line.queue.configure([Declare(None, GateSettings(limit=1))])
    await waiter.leave_claim()
    await line.put(job("a"), job("b"))
    await waiter.told()
    assert ids(await waiter.claim()) == ["a"]
    assert ids(await waiter.leave_claim()) == []
    await line.put(job("c"))
    assert await running(line.queue) == 1
    await waiter.told()
    assert ids(await waiter.leave_claim()) == []
    await line.queue.configure([Override(None, GateSettings(limit=2))])
    assert await running(line.queue) == 2
    assert (await line.queue.audit()).differences == ()


async def test_a_claim_whose_news_is_lost_is_answered_when_it_comes(
    line: Line, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiter.leave_claim()
    waiter.deafen(monkeypatch)
    await line.put(job("a"))
    assert await running(line.queue) == 1
    claimed = await waiter.claim()
    assert ids(claimed) == ["a"]
    assert claimed.since is not None


async def test_who_fetches_what_was_claimed_ahead_is_among_those_who_wait(
    line: Line, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or he asks once more: a repeated reply comes from before its call, and nothing of what that said was noted."""
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 2 * LONG)
    await waiter.leave_claim()
    with monkeypatch.context() as patch:
        waiter.deafen(patch)
        await line.put(job("a"))
        await asyncio.sleep(0.05)
    assert ids(await waiter.leave_claim()) == ["a"]
    await waiter.told()
    waiter.wait()
    await asyncio.sleep(0.05)
    await line.put(job("b"))
    await waiter.told()
    assert ids(await waiter.claim()) == ["b"]


async def test_who_listens_anew_after_such_a_loss_is_told_to_claim(
    line: Line, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 0.1)
    await waiter.leave_claim()
    waiter.deafen(monkeypatch)
    await line.put(job("a"))
    await waiter.told()
    assert ids(await waiter.claim()) == ["a"]


async def test_nothing_is_claimed_for_who_is_gone(any_redis_server: Server, line: Line, waiter: Waiter) -> None:
    gone = Waiter(any_redis_server.url)
    await gone.open()
    await gone.leave_claim()
    opened: Any = gone.backend._store
    await asyncio.gather(*[subscription.close() for subscription in opened._subscriptions.values()])
    await waiter.leave_claim()
    await line.put(job("a"))
    await waiter.told()
    assert ids(await waiter.claim()) == ["a"]
    await gone.close()


async def test_nothing_is_claimed_for_who_has_said_that_he_leaves(line: Line, waiter: Waiter) -> None:
    await waiter.leave_claim()
    assert not (await waiter.claim(0)).stands
    await line.put(job("a"))
    assert await running(line.queue) == 0


@pytest.mark.parametrize(("lease", "ahead"), [(15.0, 1.0), (2.0, 0.5)])
async def test_who_may_hang_is_told_to_ask_instead(any_redis_server: Server, lease: float, ahead: float) -> None:
    """A claim stands for a second, or a quarter of the lease: then its leases are still good when they are heard of."""
    clock = ManualClock()
    waiter, other = Waiter(any_redis_server.url, clock=clock), Waiter(any_redis_server.url, clock=clock)
    for one in (waiter, other):
        await one.open()
    await other.queue.configure([])
    for seconds, leased in ((ahead, 1), (ahead + 0.001, 0)):
        await waiter.leave_claim(lease=lease)
        clock.advance(seconds)
        await other.line.put(job(f"{seconds}"))
        assert await running(other.queue) == leased
        await waiter.told()
        claimed = await waiter.claim()
        assert ids(claimed) == [f"{seconds}"]
        await waiter.line.succeed_all(*claimed.leases)
    for one in (waiter, other):
        await one.backend.close()


async def test_timers_that_are_due_are_left_to_who_fires_them(any_redis_server: Server) -> None:
    """A settle fires none: a claim made ahead by it might pass over a job that is due before."""
    clock = ManualClock()
    waiter, other = Waiter(any_redis_server.url, clock=clock), Waiter(any_redis_server.url, clock=clock)
    for one in (waiter, other):
        await one.open()
    await other.queue.configure([])
    await other.line.put(job("a", "k"), job("b", "k"), job("c", delay=SECOND // 2, priority=9))
    (lease,) = (await other.claim(1)).leases
    await waiter.leave_claim()
    clock.advance(0.6)
    await other.line.succeed(lease)
    assert await running(other.queue) == 0
    await waiter.told()
    assert ids(await waiter.claim()) == ["c", "b"]
    for one in (waiter, other):
        await one.backend.close()


async def test_what_is_too_long_to_be_told_is_fetched(line: Line, waiter: Waiter) -> None:
    await waiter.leave_claim()
    await line.put(job("a", payload=b"x" * 100_000))
    assert await running(line.queue) == 1
    await waiter.told()
    calls = waiter.calls()
    claimed = await waiter.claim()
    assert ids(claimed) == ["a"]
    assert claimed.since is not None
    assert waiter.calls() == calls + 1


async def test_a_claim_that_crosses_the_one_made_ahead_brings_the_same(line: Line, waiter: Waiter) -> None:
    """He asks of his own accord, the put comes first: it has made that very call, which is answered as a repeat."""
    for number in range(20):
        await waiter.leave_claim()
        claimed, _ = await asyncio.gather(waiter.claim(), line.put(job(f"{number}")))
        if not claimed.leases:
            claimed = await waiter.claim()
        assert ids(claimed) == [f"{number}"]
        await waiter.line.succeed_all(*claimed.leases)
    assert (await line.queue.audit()).differences == ()


async def test_the_reply_before_the_one_made_ahead_is_kept_too(line: Line, waiter: Waiter) -> None:
    """Its caller may not have heard it: what it leased must not be lost because another call was made."""
    await line.put(job("a"))
    (lease,) = (await waiter.leave_claim()).leases
    await line.put(job("b"))
    await waiter.told()
    assert (await waiter.repeat()).leases == (lease,)
    assert ids(await waiter.claim()) == ["b"]
    assert ids(await waiter.repeat()) == ["b"]


async def test_a_claim_that_was_used_up_is_not_made_again(
    line: Line, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiter.leave_claim()
    monkeypatch.setattr(
        waiter.backend._open_store(), "is_subscribed", lambda key: False
    )  # so that it does not say who waits
    assert ids(await waiter.claim()) == []
    await line.put(job("a"))
    assert await running(line.queue) == 0
    await waiter.told()
    assert ids(await waiter.claim()) == ["a"]


async def test_nobody_is_given_ahead_what_his_own_claim_has_left(any_redis_server: Server) -> None:
    clock = ManualClock()
    waiter = Waiter(any_redis_server.url, clock=clock)
    await waiter.open()
    await waiter.line.put(job("a", delay=SECOND // 2), job("b", delay=SECOND // 2))
    await waiter.leave_claim()
    clock.advance(0.6)
    assert ids(await waiter.claim(1)) == ["a"]
    assert ids(await waiter.claim(1)) == ["b"]
    await waiter.close()


async def test_a_claim_whose_reply_was_lost_lets_no_other_be_made_ahead(
    line: Line, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 0.02)
    await waiter.leave_claim()
    with monkeypatch.context() as patch:
        patch.setattr(waiter.backend._open_store().caller, "call", lost)
        with pytest.raises(OutcomeUnknown):
            await waiter.claim(ahead=2)
    await asyncio.sleep(0.1)  # he listens anew meanwhile
    await line.put(job("a"))
    assert await running(line.queue) == 0
    assert ids(await waiter.repeat()) == ["a"]


async def lost(*_: Any, **__: Any) -> Any:
    raise OutcomeUnknown("No reply came.")


async def test_who_listens_while_his_claim_is_on_its_way_does_not_take_it_back(
    line: Line, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiter.claim()  # so that he knows of all that has changed
    go = hold(waiter, monkeypatch, "claim")
    claim = asyncio.create_task(waiter.leave_claim())
    await asyncio.sleep(0.05)  # a listener asks after 2 ms, unless a claim says so
    await line.put(job("a"))
    assert await running(line.queue) == 1
    go.set()
    assert ids(await claim) == []
    assert ids(await waiter.claim()) == ["a"]


@pytest.mark.parametrize("verb", ["listen", "claim"])
async def test_what_is_told_before_the_reply_that_it_will_be_does_not_make_anybody_deaf(
    line: Line, waiter: Waiter, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """They come on two connections."""
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 2 * LONG)
    await waiter.claim(ahead=2)
    if verb == "listen":
        go = hold(waiter, monkeypatch, verb)
        waiter.wait()
        await asyncio.sleep(0.05)
        await line.put(job("a"))
        await asyncio.sleep(0.05)
        go.set()
    else:
        go = hold(waiter, monkeypatch, verb)
        claim = asyncio.create_task(waiter.leave_claim())
        await asyncio.sleep(0.05)
        await line.put(job("a"))
        await asyncio.sleep(0.05)
        go.set()
        await claim
    await waiter.told()
    assert ids(await waiter.claim(ahead=2)) == ["a"]
    waiter.wait()
    await asyncio.sleep(0.05)
    await line.put(job("b"))
    await waiter.told()
    assert ids(await waiter.claim()) == ["b"]


def hold(waiter: Waiter, monkeypatch: pytest.MonkeyPatch, verb: str) -> asyncio.Event:
    """Have the replies of a verb come only once the event is set."""
    caller = waiter.backend._open_store().caller
    go, call = asyncio.Event(), caller.call

    async def slow(keys: Any, called: str, *values: Any, **rest: Any) -> Any:
        reply = await call(keys, called, *values, **rest)
        if called == verb:
            await go.wait()
        return reply

    monkeypatch.setattr(caller, "call", slow)
    return go


async def test_the_channel_is_listened_to_where_the_calls_go(waiter: Waiter) -> None:
    """After a failover, the old server may still be there: on its connection nothing is told any more."""
    opened, queue = waiter.backend._store, waiter.queue
    keys: Any = getattr(queue, "_keys")  # noqa: B009
    assert waiter.backend._open_store().is_subscribed(keys.state)
    assert opened
    for node in opened.topology.nodes():
        node.moves += 1
    assert not waiter.backend._open_store().is_subscribed(keys.state)
    assert await waiter.backend._open_store().subscribe(keys.state, LONG)


async def test_who_was_given_a_job_hears_of_the_next(
    line: Line, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the pause: who has a reply at hand does not ask, and must be among those who wait all the same."""
    monkeypatch.setattr(pubsub, "QUERY_AFTER", 2 * LONG)
    begun = time.monotonic()
    for number in range(60):
        await waiter.leave_claim()
        for part in "ab":
            await asyncio.sleep(number % 6 * 0.001)
            await line.put(job(f"{number}{part}"))
            await waiter.told()
            claimed = await waiter.claim(ahead=2)
            assert ids(claimed) == [f"{number}{part}"]
            await waiter.line.succeed_all(*claimed.leases)
            waiter.wait()
    assert time.monotonic() - begun < LONG
    assert (await line.queue.audit()).differences == ()
