"""How those who wait, on any loop of the process, are woken. Only ever touched under its queue's lock."""

import asyncio
from collections.abc import Iterable
from typing import Any

Waiter = asyncio.Future[Any]


class Bell:
    """Rings for all who wait, and counts, so that who comes late knows that it rang."""

    __slots__ = ("rings", "waiters")

    def __init__(self) -> None:
        self.rings = 0
        self.waiters: set[Waiter] = set()

    def ring(self) -> None:
        self.rings += 1
        if self.waiters:
            waiters, self.waiters = self.waiters, set()
            wake(waiters, True)


def wake(waiters: Iterable[Waiter], value: Any) -> None:
    """Give each waiter its value: at once if it is of the running loop, through its loop if it is of another."""
    here = _running_loop()
    for waiter in waiters:
        loop = waiter.get_loop()
        if loop is here:
            resolve(waiter, value)
            continue
        try:
            loop.call_soon_threadsafe(resolve, waiter, value)
        except RuntimeError:
            # The loop was closed since: nobody waits there any more.
            continue


def resolve(waiter: Waiter, value: Any) -> None:
    """Give a waiter its value, unless it has one or went away."""
    if not waiter.done():
        waiter.set_result(value)


async def within(waiter: Waiter, timeout: float) -> Any:
    """What the waiter is given within `timeout` seconds, or None."""
    timer = waiter.get_loop().call_later(timeout, resolve, waiter, None)
    try:
        return await waiter
    finally:
        timer.cancel()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
