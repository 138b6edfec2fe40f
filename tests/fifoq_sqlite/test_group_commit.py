"""Group commit: calls made together share a transaction, and one that fails fails alone."""

import asyncio
import fcntl
import os
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
    """Grows by one with each transaction that is written."""
    seen: list[int] = []
    commit = Session.commit

    def counted(session: Session) -> None:
        if session.changes:
            seen.append(1)
        commit(session)

    monkeypatch.setattr(Session, "commit", counted)
    return seen


async def test_a_put_starts_at_once_and_the_others_of_its_turn_share_the_next(commits: list[int], line: Any) -> None:
    await line.put(spec())
    commits.clear()
    await asyncio.gather(*(line.put(spec()) for _ in range(100)))
    assert len(commits) == 2


async def test_the_first_calls_of_a_new_queue_may_come_together(line: Any, backend: SqliteBackend) -> None:
    await asyncio.gather(*(line.put(spec("k")) for _ in range(10)))
    twin = backend.twin()
    await twin.open()
    assert (await twin.queue("queue").stats()).waiting == 10
    assert (await twin.queue("queue").audit()).differences == ()
    await twin.close()


async def test_calls_made_during_a_transaction_share_the_next(commits: list[int], line: Any) -> None:
    await line.put(spec())
    commits.clear()

    async def later(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await line.put(spec())

    await asyncio.gather(*(later(number % 10) for number in range(100)))
    assert len(commits) <= 12


async def test_a_settle_and_the_next_claim_share_one_transaction(commits: list[int], line: Any) -> None:
    await line.put(*(spec("k") for _ in range(3)))
    (first,) = await line.leases()
    commits.clear()
    settled, claimed = await asyncio.gather(line.succeed(first), line.leases())
    assert settled is State.SUCCEEDED
    assert len(claimed) == 1
    assert len(commits) == 1


async def test_calls_enter_in_the_order_in_which_they_are_made(line: Any) -> None:
    specs = [spec("k") for _ in range(50)]
    await asyncio.gather(*(line.put(one) for one in specs))
    records = await line.queue.get([one.id for one in specs])
    assert [record and record.entry for record in records] == list(range(1, 51))


async def test_a_call_that_cannot_be_stored_fails_alone(line: Any) -> None:
    wrong: Any = spec(payload="not bytes", owner=object())
    good = [spec() for _ in range(4)]
    replies = await asyncio.gather(*map(line.receipts, [*good[:2], wrong, *good[2:]]), return_exceptions=True)
    assert isinstance(replies.pop(2), Exception)
    assert replies == [(Receipt(one.id, True),) for one in good]
    stats = await line.queue.stats()
    assert (stats.waiting, stats.accepted) == (4, 4)
    assert (await line.queue.audit()).differences == ()


async def test_jobs_put_together_enter_once_when_one_of_them_is_there_already(line: Any) -> None:
    there, *others = (spec() for _ in range(4))
    await line.put(there)
    (lease,) = await line.leases()
    call, batches = line.call(), [[one] for one in (others[0], there, *others[1:])]
    replies = await line.queue.put(call, batches)
    assert replies == tuple((Receipt(one.id, one is not there),) for (one,) in batches)
    assert await line.queue.put(call, batches) == replies
    stats = await line.queue.stats()
    assert (stats.waiting, stats.running, stats.accepted) == (3, 1, 4)
    assert (await line.queue.audit()).differences == ()
    assert await line.succeed(lease) is State.SUCCEEDED


async def test_the_lock_is_free_again_before_the_callers_go_on(
    line: Any, path: Path, monkeypatch: pytest.MonkeyPatch
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
        await line.put(spec("k"))
    await line.leases()
    os.close(lock)
    assert free == [True] * 4


async def test_a_refused_call_leaves_the_others_of_its_transaction_alone(line: Any) -> None:
    await line.queue.put(Call("late", 5), [[spec()]])
    overtaken = line.queue.put(Call("late", 4), [[spec()]])
    replies = await asyncio.gather(line.put(spec()), overtaken, line.put(spec()), return_exceptions=True)
    assert [type(reply) for reply in replies] == [list, OutcomeUnknown, list]
    assert (await line.queue.stats()).waiting == 3


async def test_a_call_cancelled_before_its_turn_does_nothing(line: Any) -> None:
    await line.put(spec())
    claiming = asyncio.ensure_future(line.leases())
    await asyncio.sleep(0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    assert len(await line.leases()) == 1


async def test_a_call_cancelled_on_its_way_takes_effect_once_and_tells_it_when_repeated(line: Any) -> None:
    await line.put(spec(), spec())
    call = line.call()
    claiming = asyncio.ensure_future(line.queue.claim(call, "worker", 1, 15_000_000, ["task"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    claimed = await line.queue.claim(call, "worker", 1, 15_000_000, ["task"])
    again = await line.queue.claim(call, "worker", 1, 15_000_000, ["task"])
    assert len(claimed.leases) == 1
    assert claimed == again
    assert (await line.queue.stats()).running == 1


async def test_closing_waits_for_what_is_under_way(url: str, line_of: Any) -> None:
    backend = SqliteBackend(url)
    await backend.open()
    line = line_of(backend)
    puts = [asyncio.ensure_future(line.put(spec())) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.wait_for(backend.close(), LONG)
    assert len(await asyncio.gather(*puts)) == 20


async def test_an_idle_look_writes_no_more_than_its_reply(backend: SqliteBackend, line: Any) -> None:
    await line.put(spec())
    (lease,) = await line.leases()
    first = await line.claim_reply()
    assert first.leases == ()
    settled = await line.queue.settle(line.call(), [Settlement("nobody", "nothing", Succeed(b"", 0))])
    assert settled == (None,)
    assert await line.succeed(lease) is State.SUCCEEDED
