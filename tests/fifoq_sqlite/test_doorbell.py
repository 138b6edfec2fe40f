"""The way back from the connection's thread to the loop: nothing that was rung is lost, and nothing comes too late."""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fifoq.testing import spec
from fifoq_sqlite import SqliteBackend
from fifoq_sqlite.group_commit import LoopWaker

LONG = 30.0
"""Seconds: a test that waits in vain fails instead of hanging."""


async def test_each_ring_is_answered_once_and_in_order() -> None:
    heard: list[tuple[str, int]] = []
    all_heard = asyncio.Event()

    def answer(who: str, number: int) -> None:
        heard.append((who, number))
        if len(heard) == 2_000:
            all_heard.set()

    waker = LoopWaker(answer)
    threads = [
        threading.Thread(target=lambda who=who: [waker.wake(who, number) for number in range(1_000)]) for who in "ab"
    ]
    for thread in threads:
        thread.start()
    await asyncio.wait_for(all_heard.wait(), LONG)
    for thread in threads:
        thread.join(LONG)
    waker.stop()
    waker.close()
    for who in "ab":
        assert [number for one, number in heard if one == who] == [*range(1_000)]


async def test_a_silenced_doorbell_is_answered_no_more_and_may_still_be_rung() -> None:
    heard: list[int] = []
    waker = LoopWaker(heard.append)
    waker.stop()
    await asyncio.to_thread(waker.wake, 1)
    await asyncio.sleep(0)
    waker.close()
    waker.close()
    assert heard == []


def test_a_ring_after_the_loop_is_closed_does_nothing() -> None:
    heard: list[int] = []

    async def make() -> LoopWaker:
        return LoopWaker(heard.append)

    waker = asyncio.run(make())
    waker.wake(1)
    waker.stop()
    waker.close()
    assert heard == []


@pytest.mark.parametrize("system", ["without eventfd", "with a loop that watches no files"])
async def test_without_an_eventfd_the_loop_is_called_in_its_own_way(
    system: str, path: Path, line_of: Callable[[SqliteBackend], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if system == "without eventfd":
        monkeypatch.delattr(os, "eventfd", raising=False)
    else:

        def refuse(*_: object) -> None:
            raise NotImplementedError

        monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
    backend = SqliteBackend(f"sqlite:///{path}?synchronous=normal")
    await backend.open()
    line = line_of(backend)
    await asyncio.gather(*(line.put(spec()) for _ in range(20)))
    assert len(await line.leases(20)) == 20
    await asyncio.wait_for(backend.close(), LONG)
