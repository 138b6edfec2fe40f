"""
Group commit: calls made together share a transaction, and a failing call fails alone.

The results come back from the thread to the loop by a LoopWaker: no wake is lost, none comes after its end.
"""

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fifoq.errors import OutcomeUnknown
from fifoq.queue import Call, Receipt
from fifoq.record import Settlement, State, Succeed
from fifoq.testing import spec
from fifoq_sqlite import SqliteBackend
from fifoq_sqlite.group_commit import LoopWaker
from fifoq_sqlite.session import Session

LONG = 30.0
"""Seconds: a test that waits in vain fails instead of hanging."""


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one with each transaction that is written."""
    seen: list[int] = []
    commit = Session.commit

    def counted(session: Session) -> None:
        if session.changes:
            seen.append(1)
        commit(session)

    monkeypatch.setattr(Session, "commit", counted)
    return seen


async def test_a_put_starts_at_once_and_the_others_of_its_turn_share_the_next(commits: list[int], driver: Any) -> None:
    await driver.put(spec())
    commits.clear()
    await asyncio.gather(*(driver.put(spec()) for _ in range(100)))
    assert len(commits) == 2


async def test_the_first_calls_of_a_new_queue_may_come_together(driver: Any, backend: SqliteBackend) -> None:
    await asyncio.gather(*(driver.put(spec("k")) for _ in range(10)))
    twin = backend.twin()
    await twin.open()
    assert (await twin.queue("queue").stats()).waiting == 10
    assert (await twin.queue("queue").audit()).differences == ()
    await twin.close()


async def test_calls_made_during_a_transaction_share_the_next(commits: list[int], driver: Any) -> None:
    await driver.put(spec())
    commits.clear()

    async def later(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await driver.put(spec())

    await asyncio.gather(*(later(number % 10) for number in range(100)))
    assert len(commits) <= 12


async def test_a_settle_and_the_next_claim_share_one_transaction(commits: list[int], driver: Any) -> None:
    await driver.put(*(spec("k") for _ in range(3)))
    (first,) = await driver.leases()
    commits.clear()
    settled, claimed = await asyncio.gather(driver.succeed(first), driver.leases())
    assert settled is State.SUCCEEDED
    assert len(claimed) == 1
    assert len(commits) == 1


async def test_calls_enter_in_the_order_in_which_they_are_made(driver: Any) -> None:
    specs = [spec("k") for _ in range(50)]
    await asyncio.gather(*(driver.put(one) for one in specs))
    records = await driver.queue.get([one.id for one in specs])
    assert [record and record.entry for record in records] == list(range(1, 51))


async def test_a_call_that_cannot_be_stored_fails_alone(driver: Any) -> None:
    wrong: Any = spec(payload="not bytes", owner=object())
    good = [spec() for _ in range(4)]
    replies = await asyncio.gather(*map(driver.receipts, [*good[:2], wrong, *good[2:]]), return_exceptions=True)
    assert isinstance(replies.pop(2), Exception)
    assert replies == [(Receipt(one.id, True),) for one in good]
    stats = await driver.queue.stats()
    assert (stats.waiting, stats.accepted) == (4, 4)
    assert (await driver.queue.audit()).differences == ()


async def test_jobs_put_together_enter_once_when_one_of_them_is_there_already(driver: Any) -> None:
    there, *others = (spec() for _ in range(4))
    await driver.put(there)
    (lease,) = await driver.leases()
    call, batches = driver.call(), [[one] for one in (others[0], there, *others[1:])]
    replies = await driver.queue.put(call, batches)
    assert replies == tuple((Receipt(one.id, one is not there),) for (one,) in batches)
    assert await driver.queue.put(call, batches) == replies
    stats = await driver.queue.stats()
    assert (stats.waiting, stats.running, stats.accepted) == (3, 1, 4)
    assert (await driver.queue.audit()).differences == ()
    assert await driver.succeed(lease) is State.SUCCEEDED


async def test_the_lock_is_free_again_before_the_callers_go_on(
    driver: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wake, free = LoopWaker.wake, list[bool]()
    lock = os.open(path.with_name(f"{path.name}-fifoq") / "lock", os.O_RDWR)

    def watched_wake(waker: LoopWaker, *arguments: Any) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(lock, fcntl.LOCK_UN)
            free.append(True)
        except BlockingIOError:
            free.append(False)
        wake(waker, *arguments)

    monkeypatch.setattr(LoopWaker, "wake", watched_wake)
    for _ in range(3):
        await driver.put(spec("k"))
    await driver.leases()
    os.close(lock)
    assert free == [True] * 4


async def test_a_refused_call_leaves_the_others_of_its_transaction_alone(driver: Any) -> None:
    await driver.queue.put(Call("late", 5), [[spec()]])
    overtaken = driver.queue.put(Call("late", 4), [[spec()]])
    replies = await asyncio.gather(driver.put(spec()), overtaken, driver.put(spec()), return_exceptions=True)
    assert [type(reply) for reply in replies] == [list, OutcomeUnknown, list]
    assert (await driver.queue.stats()).waiting == 3


async def test_a_call_cancelled_before_its_turn_does_nothing(driver: Any) -> None:
    await driver.put(spec())
    claiming = asyncio.ensure_future(driver.leases())
    await asyncio.sleep(0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    assert len(await driver.leases()) == 1


async def test_a_call_cancelled_on_its_way_takes_effect_once_and_returns_its_reply_when_repeated(driver: Any) -> None:
    await driver.put(spec(), spec())
    call = driver.call()
    claiming = asyncio.ensure_future(driver.queue.claim(call, "worker", 1, 15_000_000, ["task"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    claimed = await driver.queue.claim(call, "worker", 1, 15_000_000, ["task"])
    again = await driver.queue.claim(call, "worker", 1, 15_000_000, ["task"])
    assert len(claimed.leases) == 1
    assert claimed == again
    assert (await driver.queue.stats()).running == 1


async def test_closing_waits_for_the_calls_under_way(url: str, driver_of: Any) -> None:
    backend = SqliteBackend(url)
    await backend.open()
    driver = driver_of(backend)
    puts = [asyncio.ensure_future(driver.put(spec())) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.wait_for(backend.close(), LONG)
    assert len(await asyncio.gather(*puts)) == 20


async def test_an_idle_claim_writes_no_more_than_its_reply(backend: SqliteBackend, driver: Any) -> None:
    await driver.put(spec())
    (lease,) = await driver.leases()
    first = await driver.claim_reply()
    assert first.leases == ()
    settled = await driver.queue.settle(driver.call(), [Settlement("unknown", "no token", Succeed(b"", 0))])
    assert settled == (None,)
    assert await driver.succeed(lease) is State.SUCCEEDED


# ---- the way back from the thread to the loop ----


async def test_each_wake_calls_back_once_and_in_order() -> None:
    called: list[tuple[str, int]] = []
    all_called = asyncio.Event()

    def callback(thread: str, number: int) -> None:
        called.append((thread, number))
        if len(called) == 2_000:
            all_called.set()

    waker = LoopWaker(callback)
    threads = [
        threading.Thread(target=lambda name=name: [waker.wake(name, number) for number in range(1_000)])
        for name in "ab"
    ]
    for thread in threads:
        thread.start()
    await asyncio.wait_for(all_called.wait(), LONG)
    for thread in threads:
        thread.join(LONG)
    waker.stop()
    waker.close()
    for name in "ab":
        assert [number for one, number in called if one == name] == [*range(1_000)]


async def test_a_stopped_waker_calls_back_no_more_and_a_thread_may_still_wake_it() -> None:
    called: list[int] = []
    waker = LoopWaker(called.append)
    waker.stop()
    await asyncio.to_thread(waker.wake, 1)
    await asyncio.sleep(0)
    waker.close()
    waker.close()
    assert called == []


def test_a_wake_after_the_loop_is_closed_does_nothing() -> None:
    called: list[int] = []

    async def make() -> LoopWaker:
        return LoopWaker(called.append)

    waker = asyncio.run(make())
    waker.wake(1)
    waker.stop()
    waker.close()
    assert called == []


@pytest.mark.parametrize("system", ["without eventfd", "with a loop that watches no files"])
async def test_without_an_eventfd_the_loop_is_called_in_its_own_way(
    system: str, path: Path, driver_of: Callable[[SqliteBackend], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if system == "without eventfd":
        monkeypatch.delattr(os, "eventfd", raising=False)
    else:

        def refuse(*_: object) -> None:
            raise NotImplementedError

        monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
    backend = SqliteBackend(f"sqlite:///{path}?synchronous=normal")
    await backend.open()
    driver = driver_of(backend)
    await asyncio.gather(*(driver.put(spec()) for _ in range(20)))
    assert len(await driver.leases(20)) == 20
    await asyncio.wait_for(backend.close(), LONG)
