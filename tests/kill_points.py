"""
Places at which a process may be struck, and a wrapper between a Fifoq and its store that reaches them.

Nothing of fifoq is changed for it: what happens in a call is struck while the call is under way. The store's own inner
places, where it has any, are planted from outside.
"""

import asyncio
import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from fifoq.queue import Backend
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue

VERBS = ("put", "claim", "extend", "settle")
OUTER = (
    "before claim", "in claim", "after claim", "in task", "after effect", "before settle", "in settle", "after settle",
    "before extend", "in extend", "after extend", "anywhere",
)  # fmt: skip
"""A worker's, on any store. Anywhere: the controller kills it at a random moment."""
INNER = {"sqlite": ("before commit", "after commit", "before reply")}
"""Within a store's write, by the scheme of its URL."""


class KillPoints:
    """Strikes its own process with a signal when it gets to a point for the nth time, and calls `before` first."""

    def __init__(self, point: str, nth: int, strike: signal.Signals, before: Callable[[], None] = lambda: None) -> None:
        self._point = point
        self._left = nth
        self._strike = strike
        self._before = before
        self.lock: Any = contextlib.nullcontext()
        """Held while it strikes: who is frozen then does not hold the store's lock, unless within it."""

    def due(self, point: str) -> bool:
        """Whether this is the time: once."""
        if point != self._point:
            return False
        self._left -= 1
        return self._left == 0

    def reach(self, point: str) -> None:
        if self.due(point):
            self.strike()

    def strike(self) -> None:
        with self.lock:
            self._before()
            os.kill(os.getpid(), self._strike)
            # A stop reaches one thread after the other: until it has reached this one, keep the lock.
            time.sleep(0.01)


def intercept(backend: Backend, points: KillPoints) -> WrappedBackend:
    """A backend whose calls pass the points `before VERB`, `in VERB` and `after VERB`. All else goes through."""
    return WrappedBackend(backend, lambda queue: _InterceptedQueue(queue, points))


class _InterceptedQueue(WrappedQueue):
    def __init__(self, queue: Any, points: KillPoints) -> None:
        super().__init__(queue)
        self._points = points

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        return self._intercepted(name, method) if name in VERBS else method

    def _intercepted(self, verb: str, method: Callable[..., Any]) -> Callable[..., Any]:
        points = self._points

        async def call(*args: Any) -> Any:
            points.reach(f"before {verb}")
            if points.due(f"in {verb}"):
                reply = await self._strike_within(method(*args))
            else:
                reply = await method(*args)
            # A claim that brought nothing is no place to die at.
            if verb != "claim" or reply.leases:
                points.reach(f"after {verb}")
            return reply

        return call

    async def _strike_within(self, call: Any) -> Any:
        """Strike while the call is on its way to the store, in it, or on the way back."""
        flying = asyncio.ensure_future(call)
        await asyncio.sleep(random.choice([0.0, random.uniform(0.0, 0.002)]))
        self._points.strike()
        return await flying


def plant_inner(scheme: str, points: KillPoints) -> None:
    """Let the store's writes pass its inner points."""
    if scheme == "sqlite":
        _plant_sqlite(points)


def _plant_sqlite(points: KillPoints) -> None:
    from fifoq_sqlite.session import Session
    from fifoq_sqlite.transactions import Writer

    commit, acknowledge = Session.commit, Writer._acknowledge

    def watched_commit(session: Session) -> None:
        if session.changes:
            points.reach("before commit")
        commit(session)

    def watched_acknowledge(writer: Writer, session: Session) -> None:
        points.reach("after commit")
        acknowledge(writer, session)
        points.reach("before reply")

    Session.commit = watched_commit
    Writer._acknowledge = watched_acknowledge
    points.lock = _gate_of_lock()


def _gate_of_lock() -> Any:
    """A lock of this process's threads around each use of the store's lock."""
    from fifoq_sqlite.files import Lock

    gate, enter, leave = threading.RLock(), Lock.__enter__, Lock.__exit__

    def gated_enter(lock: Lock) -> None:
        gate.acquire()
        try:
            enter(lock)
        except BaseException:
            gate.release()
            raise

    def gated_leave(lock: Lock, *error: Any) -> None:
        leave(lock, *error)
        gate.release()

    Lock.__enter__, Lock.__exit__ = gated_enter, gated_leave
    return gate
