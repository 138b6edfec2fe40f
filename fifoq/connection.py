"""
A Fifoq's link to its backend: opened on one loop at a time, counted, closed by the last user.

It knows backends and queues; of tasks only what the catalogue says is to be written.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from fifoq.backends import connect
from fifoq.coalescer import Coalescer
from fifoq.errors import ConfigurationError
from fifoq.portal import LoopGone, Portal, hop
from fifoq.queue import Backend, Queue, Setting
from fifoq.registry import Registry
from fifoq.settings import Settings

R = TypeVar("R")
Connect = Callable[[str], Backend]


GUESTS_GRACE = 1.0
"""Seconds for which closing waits for calls from other threads."""
_ELSEWHERE = "This Fifoq is open on another event loop. Use the *_sync forms from here, or a Fifoq of your own."


class _Elsewhere(ConfigurationError):
    """It is open on another loop."""


class OpenBackend:
    """The backend, open on one loop, and what is in flight there."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.backend = backend
        self.settings = settings
        self.coalescers: dict[str, Coalescer] = {}

    def coalescer(self, queue: str) -> Coalescer:
        """Return the one coalescer of that queue."""
        coalescer = self.coalescers.get(queue)
        if coalescer is None:
            coalescer = Coalescer(self.backend.queue(queue), self.settings.patience)
            self.coalescers[queue] = coalescer
        return coalescer

    async def close(self) -> None:
        """Let what is in flight come back, and close the backend."""
        try:
            for coalescer in self.coalescers.values():
                await coalescer.close()
        finally:
            await self.backend.close()


class LoopOwner:
    """The time during which one loop holds the link. All its users share one opening."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.pid = os.getpid()
        self.lock = asyncio.Lock()
        self.users = 0
        self.opening: OpenBackend | None = None
        self.held = False
        """The portal's own use, which ends when another loop opens."""
        self.guests: set[asyncio.Task[Any]] = set()
        """Calls from other threads, at work on this loop."""
        self.over = asyncio.Event()
        """The last user has left."""

    @property
    def is_over(self) -> bool:
        """Whether nobody can end it any more: its loop is gone, or is the parent process's."""
        return self.loop.is_closed() or self.pid != os.getpid()


class BackendConnection:
    """See `fifoq.connection.Connection`. One backend object for all openings, so that private memory survives them."""

    def __init__(self, given: dict[str, Any], registry: Registry, make: Connect = connect) -> None:
        self._given = given
        self._registry = registry
        self._make = make
        self._guard = threading.Lock()
        self._tenure: LoopOwner | None = None
        self._portal = Portal(self._leave_portal)
        self._backend: Backend | None = None
        self._url: str | None = None

    def settings(self, overruling: Mapping[str, Any] | None = None) -> Settings:
        """Read the settings as they are now; those in `overruling` that are not None count more."""
        overruling = {name: value for name, value in (overruling or {}).items() if value is not None}
        return Settings.read({**self._given, **overruling})

    @property
    def is_open(self) -> bool:
        """Whether it is open, on any loop."""
        tenure = self._tenure
        return tenure is not None and tenure.opening is not None and not tenure.is_over

    def opening(self) -> OpenBackend:
        """Return the opening on the running loop. Raises ConfigurationError if there is none."""
        tenure = self._tenure
        if tenure is not None and tenure.loop is asyncio.get_running_loop() and tenure.opening is not None:
            return tenure.opening
        raise self._not_here(tenure)

    def intake(self, queue: str) -> Coalescer:
        """Return where jobs of that queue are put."""
        tenure = self._tenure
        # What `opening` does: a call less for each job that is enqueued.
        if tenure is None or (opening := tenure.opening) is None or tenure.loop is not asyncio.get_running_loop():
            raise self._not_here(tenure)
        coalescer = opening.coalescers.get(queue)
        return opening.coalescer(queue) if coalescer is None else coalescer

    def queue(self, name: str) -> Queue:
        """Return the queue itself, to look and to operate."""
        return self.opening().backend.queue(name)

    def declare(self, queue: str, setting: Setting) -> None:
        """Have `setting` written before the next put, if it is declared while this is open."""
        tenure = self._tenure
        if tenure is not None and tenure.opening is not None:
            tenure.opening.coalescer(queue).declare(setting)

    async def acquire(self) -> OpenBackend:
        """Open, or use what is open on this loop. To be paired with `release`."""
        tenure = await self._take()
        try:
            return await self._ready(tenure)
        except BaseException:
            self._leave(tenure)
            raise

    async def release(self) -> None:
        """Let go; the last one on this loop closes."""
        tenure = self._tenure
        if tenure is None or tenure.loop is not asyncio.get_running_loop():
            raise self._not_here(tenure)
        async with tenure.lock:
            opening = tenure.opening
            try:
                if tenure.users == 1 and opening is not None:
                    if tenure.guests:
                        await asyncio.wait(tenure.guests, timeout=GUESTS_GRACE)
                    tenure.opening = None
                    await opening.close()
            finally:
                self._leave(tenure)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[OpenBackend, None]:
        """Open it for a block."""
        opening = await self.acquire()
        try:
            yield opening
        finally:
            await self.release()

    def run(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run `work()` on the loop that has this open, or on one in a thread of its own; return what it returns."""
        while True:
            tenure = self._tenure
            try:
                if tenure is None or tenure.is_over or self._portal.owns(tenure.loop):
                    return hop(self._portal.loop, lambda: self._on_portal(work))
                if tenure.thread == threading.get_ident():
                    raise ConfigurationError(
                        "A *_sync call on the thread of the event loop would block the loop it waits for. "
                        "Use the form without _sync, with await."
                    )
                return hop(tenure.loop, partial(self._as_guest, tenure, work))
            except LoopGone:
                continue  # it was closed, or opened elsewhere, just now: nothing was done, so look again

    async def _as_guest(self, tenure: LoopOwner, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        task = asyncio.current_task()
        assert task is not None
        await self._settled(tenure)
        tenure.guests.add(task)
        try:
            return await work()
        finally:
            tenure.guests.discard(task)

    async def _settled(self, tenure: LoopOwner) -> None:
        """Wait until it is open, if it is opening or closing right now. Raises LoopGone if it is closed after that."""
        try:
            if tenure.opening is None:
                async with tenure.lock:
                    pass
        except asyncio.CancelledError:
            raise LoopGone from None
        if tenure.opening is None:
            raise LoopGone

    async def _on_portal(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        try:
            tenure = await self._take()
        except _Elsewhere as error:
            raise LoopGone from error
        # The first use keeps it open: opening for each call would cost a connection each time.
        if not tenure.held:
            tenure.held = True
            tenure.users += 1
        try:
            await self._ready(tenure)
            return await work()
        finally:
            await self.release()

    async def _ready(self, tenure: LoopOwner) -> OpenBackend:
        async with tenure.lock:
            if tenure.opening is None:
                tenure.opening = await self._open()
            return tenure.opening

    async def _take(self) -> LoopOwner:
        """Return this loop's tenure, with one user more."""
        loop = asyncio.get_running_loop()
        while True:
            with self._guard:
                tenure = self._tenure
                if tenure is None or tenure.is_over:
                    tenure = self._tenure = LoopOwner()
                if tenure.loop is loop:
                    tenure.users += 1
                    return tenure
            if not self._portal.owns(tenure.loop):
                raise _Elsewhere(_ELSEWHERE)
            # Sync calls opened it earlier, in a thread of their own: from here on they hop to this loop.
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._hand_over(tenure), tenure.loop))

    async def _hand_over(self, tenure: LoopOwner) -> None:
        """On the portal's loop: let go of it, and return when the last sync call there has left."""
        await self._leave_portal()
        await tenure.over.wait()

    async def _leave_portal(self) -> None:
        """On the portal's loop: let go of what the first sync call holds."""
        tenure = self._tenure
        if tenure is not None and tenure.held and self._portal.owns(tenure.loop):
            tenure.held = False
            await self.release()

    def _leave(self, tenure: LoopOwner) -> None:
        with self._guard:
            tenure.users -= 1
            if tenure.users == 0 and self._tenure is tenure:
                self._tenure = None
                tenure.over.set()

    async def _open(self) -> OpenBackend:
        settings = self.settings()
        self._registry.resolve(settings.max_payload)
        if self._backend is None or self._url != settings.url:
            self._backend, self._url = self._make(settings.url), settings.url
        opening = OpenBackend(self._backend, settings)
        await self._backend.open()
        try:
            for queue in self._registry.queues:
                await self._backend.queue(queue).configure(self._registry.settings_of(queue))
        except BaseException:
            await self._backend.close()
            raise
        return opening

    def _not_here(self, tenure: LoopOwner | None) -> ConfigurationError:
        if tenure is None or tenure.is_over or tenure.loop is asyncio.get_running_loop():
            return ConfigurationError(
                "This Fifoq is not open. Open it with `async with tasks:`, or in FastAPI with "
                "lifespan=lifespan(tasks); from a thread or a script without a loop, use the *_sync forms."
            )
        return _Elsewhere(_ELSEWHERE)
