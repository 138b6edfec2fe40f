"""Threads that hop into a loop get a result or an error whatever becomes of the loop: done, not done, or unknown."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fifoq import portal
from fifoq.errors import OutcomeUnknown, ResultTimeout
from fifoq.portal import LoopGone, hop


class Host:
    """A loop in a thread, busy until `end` is set; then it ends, as `asyncio.run` does."""

    def __init__(self, wait: Callable[[], Any] | None = None) -> None:
        self.started, self.end = threading.Event(), threading.Event()
        self.loop: asyncio.AbstractEventLoop
        self._wait = wait
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self.thread.start()
        self.started.wait()

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.started.set()
        if self._wait is not None:
            await self._wait()
        self.end.wait()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a hop has handed its work to the loop."""
    event, send = threading.Event(), asyncio.run_coroutine_threadsafe

    def spy(coroutine: Any, loop: Any) -> Any:
        future = send(coroutine, loop)
        event.set()
        return future

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", spy)
    return event


async def answer() -> int:
    return 1


def test_work_that_the_loop_never_began_with_was_not_done(sent: threading.Event) -> None:
    host = Host()
    with ThreadPoolExecutor() as pool:
        hopping = pool.submit(hop, host.loop, answer)
        sent.wait()
        host.end.set()
        with pytest.raises(LoopGone):
            hopping.result(60)
    host.thread.join()  # until then the loop may still take work, on its way to being closed
    with pytest.raises(LoopGone):
        hop(host.loop, answer)


def test_work_that_the_loop_left_midway_has_an_unknown_outcome() -> None:
    begun = threading.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    host = Host(lambda: asyncio.to_thread(begun.wait))
    host.end.set()
    with pytest.raises(OutcomeUnknown, match="safe to repeat"):
        hop(host.loop, endless)


def test_a_loop_that_was_closed_early_keeps_no_thread_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal, "CHECK_INTERVAL", 0.01)
    loop = asyncio.new_event_loop()
    threading.Timer(0.05, loop.close).start()
    with pytest.raises(LoopGone):
        hop(loop, answer)


def test_a_timeout_of_the_work_is_not_taken_for_the_check_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal, "CHECK_INTERVAL", 0.001)

    async def late() -> None:
        await asyncio.sleep(0.01)
        raise ResultTimeout("id", "task", 1)

    done = threading.Event()
    host = Host(lambda: asyncio.to_thread(done.wait))
    host.end.set()
    with pytest.raises(ResultTimeout):
        hop(host.loop, late)
    done.set()
