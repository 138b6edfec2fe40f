"""SIGINT and SIGTERM while a worker runs: the first asks it to stop, the second to stop at once, the third ends all."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def signals(gently: Callable[[], None], at_once: Callable[[], None]) -> Generator[None]:
    """
    Call `gently` on the loop at the first signal and `at_once` at the second; restore the handlers after.

    The third one ends the process as if nobody had listened: a task that blocks the loop keeps it from hearing the
    others. Its leases then end by themselves.

    Outside the main thread a process gets no signals, so this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    calls = iter([gently, at_once])

    def received(number: int, frame: FrameType | None) -> None:
        # Python runs this between two bytecodes of the main thread, in the middle of anything, so it does no more
        # than wake the loop.
        call = next(calls, None)
        if call is not None:
            loop.call_soon_threadsafe(call)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before = {number: signal.signal(number, received) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: a handler that was not set from Python, and cannot be set from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
