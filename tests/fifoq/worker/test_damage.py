"""Replies that cannot be used: a claim that fails for good is not repeated, and an outage is one of few errors."""

from typing import Any

import pytest

from fifoq import errors
from fifoq.queue import Call
from fifoq.record import Claimed, State
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue
from fifoq.worker.outage import NOT_NOW


class _Spoiled(WrappedQueue):
    """The first replies to claims cannot be read, and neither can their repeats."""

    numbers: list[int]
    lost = 3

    async def claim(self, call: Call, *args: Any, **kwargs: Any) -> Claimed:
        self.numbers.append(call.number)
        if call.number <= self.lost:
            raise errors.BackendCorrupt("A reply cannot be read.")
        return await self._queue.claim(call, *args, **kwargs)


async def test_a_claim_whose_reply_cannot_be_read_is_not_repeated_for_ever(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def quick() -> None: ...

    numbers: list[int] = []

    class Queue(_Spoiled):
        pass

    Queue.numbers = numbers
    job = await shop.put(shop.task(quick))
    async with shop.worker(WrappedBackend(shop.backend, Queue)):
        assert (await shop.ended(job)).state is State.SUCCEEDED
    assert numbers[:4] == [1, 2, 3, 4]
    assert [record.getMessage()[:19] for record in caplog.records if record.levelname == "ERROR"] == [
        "The backend fails: "
    ]


def test_outages_are_a_closed_list() -> None:
    assert errors.BackendCorrupt not in NOT_NOW
    assert not any(issubclass(errors.BackendCorrupt, kind) for kind in NOT_NOW)
    assert not any(issubclass(kind, each) for each in NOT_NOW for kind in (ValueError, TypeError, KeyError))


async def test_a_damaged_lease_fails_its_job_and_runs_nothing(shop: Any) -> None:
    ran: list[str] = []

    async def work(name: str) -> None:
        ran.append(name)

    class Queue(WrappedQueue):
        async def claim(self, call: Call, *args: Any, **kwargs: Any) -> Claimed:
            claimed = await self._queue.claim(call, *args, **kwargs)
            leases = [
                lease._replace(damage="its call is of another type") if lease.spec.id == "bad" else lease
                for lease in claimed.leases
            ]
            return claimed._replace(leases=tuple(leases))

    task = shop.task(work)
    for name in ("bad", "good"):
        await shop.put(task, name, id=name)
    await shop.worker(WrappedBackend(shop.backend, Queue)).drain()
    bad = await shop.job("bad")
    assert bad.error is not None
    assert (bad.state, bad.error.type, bad.attempt) == (State.FAILED, "BackendCorrupt", 1)
    assert "'bad'" in bad.error.message
    assert ran == ["good"]
