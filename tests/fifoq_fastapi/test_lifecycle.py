"""The server's shutdown begins with a signal, which the server gets as well; a second Ctrl-C hurries it."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from fifoq_fastapi.lifecycle import SIGNALS, ServerShutdown


@pytest.fixture
def received() -> Iterator[list[int]]:
    """The signals that the handlers of a server receive."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in SIGNALS}
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


async def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_begins_the_shutdown_and_reaches_the_server(received: list[int], number: signal.Signals) -> None:
    with ServerShutdown().handling_signals() as shutdown:
        assert not shutdown.begun
        await send(number)
        assert (shutdown.begun, received) == (True, [number])


@pytest.mark.parametrize(
    ("numbers", "hurries"),
    [
        ([signal.SIGINT], 0),
        ([signal.SIGTERM, signal.SIGTERM], 0),
        ([signal.SIGINT, signal.SIGTERM], 0),  # Ctrl-C in front of a server of several processes
        ([signal.SIGINT, signal.SIGINT], 1),
        ([signal.SIGTERM, signal.SIGINT], 1),
    ],
)
async def test_only_a_second_ctrl_c_hurries(received: list[int], numbers: list[signal.Signals], hurries: int) -> None:
    calls: list[str] = []
    with ServerShutdown().handling_signals() as shutdown:
        shutdown.hurry = lambda: calls.append("hurry")
        await send(*numbers)
    assert (received, len(calls)) == (numbers, hurries)


async def test_the_handlers_are_restored_unless_others_were_set_meanwhile(received: list[int]) -> None:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with ServerShutdown().handling_signals(), ServerShutdown().handling_signals():
        assert signal.getsignal(signal.SIGINT) is not before[signal.SIGINT]
        signal.signal(signal.SIGTERM, other := lambda number, frame: None)
    assert signal.getsignal(signal.SIGINT) is before[signal.SIGINT]
    assert signal.getsignal(signal.SIGTERM) is other


async def test_without_a_server_that_handles_them_signals_are_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with ServerShutdown().handling_signals():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_is_touched() -> None:
    before, after = signal.getsignal(signal.SIGINT), list[object]()

    async def listen() -> None:
        with ServerShutdown().handling_signals():
            after.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=lambda: asyncio.run(listen()))
    thread.start()
    thread.join()
    assert after == [before]


async def test_timeouts_expire_when_the_shutdown_begins_and_after() -> None:
    shutdown = ServerShutdown()

    async def wait() -> str:
        try:
            async with asyncio.timeout(30) as timeout:
                with shutdown.cuts(timeout):
                    await asyncio.Event().wait()
        except TimeoutError:
            return "cut"
        return "not cut"

    waits = [asyncio.create_task(wait()) for _ in range(3)]
    await asyncio.sleep(0)
    shutdown.begin()
    assert await asyncio.gather(*waits, wait()) == ["cut"] * 4


async def test_a_server_that_stops_without_a_signal_is_seen(
    received: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fifoq_fastapi.lifecycle.SERVER_POLL_INTERVAL", 0.001)

    class Server(SimpleNamespace):
        def handle_exit(self, number: int, frame: object) -> None: ...

    for stop in ("flag", "requests"):
        listening = SimpleNamespace(is_serving=lambda stop=stop: stop == "flag")
        server = Server(should_exit=False, servers=[])
        signal.signal(signal.SIGINT, server.handle_exit)
        with ServerShutdown().handling_signals() as shutdown:
            await asyncio.sleep(0.01)
            assert not shutdown.begun, "it has not begun to listen"
            server.servers = [listening]
            server.should_exit = stop == "flag"
            async with asyncio.timeout(10):
                while not shutdown.begun:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
