"""
A Fifoq's connection to its backend: opened on one event loop at a time, counted, and closed by its last user.

It handles backends and queues. When it opens, it writes the settings that the registry has for them.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

from fifoq.backends import connect
from fifoq.coalescer import Coalescer
from fifoq.errors import ConfigurationError
from fifoq.main_guard import refuse_to_open
from fifoq.portal import LoopGone, Portal, hop
from fifoq.queue import Backend, Queue, Setting
from fifoq.registry import Registry
from fifoq.settings import Settings
from fifoq.url import named

R = TypeVar("R")
Connect = Callable[[str], Backend]

THREAD_CALLS_GRACE = 1.0
"""Seconds for which closing waits for calls from other threads."""

_ELSEWHERE = "This Fifoq is open on another event loop. Use the *_sync forms from here, or a Fifoq of your own."


class _Elsewhere(ConfigurationError):
    """The Fifoq is open on another loop."""


class OpenBackend:
    """The backend, open on one loop, and the coalescers of its queues."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.backend = backend
        self.patience = settings.patience
        self.declared = 0
        """How many of the registry's settings are written, or were given to a coalescer."""
        self.coalescers: dict[str, Coalescer] = {}

    def coalescer(self, queue: str) -> Coalescer:
        """Return the one coalescer of that queue."""
        coalescer = self.coalescers.get(queue)
        if coalescer is None:
            coalescer = Coalescer(self.backend.queue(queue), self.patience)
            self.coalescers[queue] = coalescer
        return coalescer

    async def close(self) -> None:
        """Wait for the puts in flight, and close the backend."""
        try:
            for coalescer in self.coalescers.values():
                await coalescer.close()
        finally:
            await self.backend.close()


class LoopOwner:
    """The event loop that holds the connection, from its first user to its last. All users share one open backend."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.pid = os.getpid()
        self.lock = asyncio.Lock()
        self.users = 0
        self.opened: OpenBackend | None = None
        self.kept_by_portal = False
        """One of the users is the portal itself, until another loop opens the connection."""
        self.thread_calls: set[asyncio.Task[Any]] = set()
        """Calls from other threads that run on this loop now."""
        self.released = asyncio.Event()
        """The last user has left."""

    @property
    def is_stale(self) -> bool:
        """Whether no user can release it any more: its loop is closed, or belongs to the parent process."""
        return self.loop.is_closed() or self.pid != os.getpid()


class BackendConnection:
    """
    The `fifoq.task.handle.Connection` of a Fifoq.

    It keeps one backend object and opens it again and again, so that private memory survives closing.
    """

    def __init__(self, given: dict[str, Any], registry: Registry, make: Connect = connect) -> None:
        self._given = given
        self._registry = registry
        self._make = make
        self._guard = threading.Lock()
        self._owner: LoopOwner | None = None
        self._portal = Portal(self._leave_portal)
        self._backend: Backend | None = None
        self._url: str | None = None
        self.store = ""
        """The store as the log shows it."""

    def settings(self, overruling: Mapping[str, Any] | None = None) -> Settings:
        """Read the settings as they are now. Values in `overruling` that are not None take precedence."""
        overruling = {name: value for name, value in (overruling or {}).items() if value is not None}
        return Settings.read({**self._given, **overruling})

    @property
    def is_open(self) -> bool:
        """Whether it is open, on any loop."""
        owner = self._owner
        return owner is not None and owner.opened is not None and not owner.is_stale

    @property
    def users(self) -> int:
        """How many parts of the program have it open now."""
        return 0 if self._owner is None else self._owner.users

    def open_backend(self) -> OpenBackend:
        """Return the backend that is open on the running loop. Raises ConfigurationError if there is none."""
        owner = self._owner
        if owner is not None and owner.loop is asyncio.get_running_loop() and owner.opened is not None:
            return owner.opened
        raise self._not_open_here(owner)

    def producer(self, queue: str) -> Coalescer:
        """Return the coalescer that puts jobs into that queue."""
        owner = self._owner
        # The same as `open_backend`, inlined: a call less for each job that is enqueued.
        if owner is None or (opened := owner.opened) is None or owner.loop is not asyncio.get_running_loop():
            raise self._not_open_here(owner)
        coalescer = opened.coalescers.get(queue)
        return opened.coalescer(queue) if coalescer is None else coalescer

    def queue(self, name: str) -> Queue:
        """Return the queue itself, to look at jobs and to operate."""
        return self.open_backend().backend.queue(name)

    def write_new_settings(self) -> None:
        """Have the settings written that were declared since it opened: soon, and before the next put."""
        owner = self._owner
        if owner is None or owner.is_stale:
            return
        if owner.thread != threading.get_ident():
            with contextlib.suppress(RuntimeError):  # the loop has just been closed
                owner.loop.call_soon_threadsafe(self.write_new_settings)
        elif (opened := owner.opened) is not None:
            declared = self._registry.settings[opened.declared :]
            opened.declared += len(declared)
            for queue, setting in declared:
                coalescer = opened.coalescer(queue)
                coalescer.declare(setting)
                owner.loop.call_soon(coalescer.send_settings)

    @contextmanager
    def using(self, url: str) -> Generator[None]:
        """Open the store of another URL until the block ends. Raises ConfigurationError if the connection is open."""
        self._close_for_change()
        before = self._given, self._backend, self._url
        self._given, self._backend, self._url = {**self._given, "url": url}, None, None
        try:
            yield
        except BaseException:
            with contextlib.suppress(ConfigurationError):  # the error of the block counts
                self._close_for_change()
            raise
        else:
            self._close_for_change()
        finally:
            self._given, self._backend, self._url = before

    def _close_for_change(self) -> None:
        """Close it if sync calls have opened it on the portal's loop. Raises ConfigurationError if it is open still."""
        owner = self._owner
        if owner is not None and owner.kept_by_portal and not owner.is_stale:
            hop(owner.loop, self._leave_portal)
        if self.is_open:
            raise ConfigurationError(
                "This Fifoq is open, so its store cannot be replaced. Replace it before the app opens, and let the app "
                "end first: `with TestClient(app)` or `async with tasks` inside of the block."
            )

    # ---- opening and closing on the running loop ----

    async def acquire(self) -> OpenBackend:
        """Open the backend, or share the one that is open on this loop. Each `acquire` needs one `release`."""
        owner = await self._add_user()
        try:
            return await self._ensure_open(owner)
        except BaseException:
            self._remove_user(owner)
            raise

    async def release(self) -> None:
        """Undo one `acquire`. The last user on this loop closes the backend."""
        owner = self._owner
        if owner is None or owner.loop is not asyncio.get_running_loop():
            raise self._not_open_here(owner)
        async with owner.lock:
            opened = owner.opened
            try:
                if owner.users == 1 and opened is not None:
                    if owner.thread_calls:
                        await asyncio.wait(owner.thread_calls, timeout=THREAD_CALLS_GRACE)
                    owner.opened = None
                    await opened.close()
            finally:
                self._remove_user(owner)

    @asynccontextmanager
    async def acquired(self) -> AsyncGenerator[OpenBackend, None]:
        """Keep the backend open for a block."""
        opened = await self.acquire()
        try:
            yield opened
        finally:
            await self.release()

    async def _add_user(self) -> LoopOwner:
        """Return this loop's owner, with one user more."""
        loop = asyncio.get_running_loop()
        while True:
            with self._guard:
                owner = self._owner
                if owner is None or owner.is_stale:
                    owner = self._owner = LoopOwner()
                if owner.loop is loop:
                    owner.users += 1
                    return owner
            if not self._portal.owns(owner.loop):
                raise _Elsewhere(_ELSEWHERE)
            # Sync calls opened it earlier, on the portal's loop. Once it has moved here, they hop to this loop.
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._hand_over(owner), owner.loop))

    def _remove_user(self, owner: LoopOwner) -> None:
        with self._guard:
            owner.users -= 1
            if owner.users == 0 and self._owner is owner:
                self._owner = None
                owner.released.set()

    async def _ensure_open(self, owner: LoopOwner) -> OpenBackend:
        async with owner.lock:
            if owner.opened is None:
                owner.opened = await self._open()
                self.write_new_settings()  # those that another thread has declared just now
            return owner.opened

    async def _open(self) -> OpenBackend:
        refuse_to_open()
        settings = self.settings()
        self._registry.resolve(settings.max_payload)
        if self._backend is None or self._url != settings.url:
            self._backend, self._url = self._make(settings.url), settings.url
            self.store = named(settings.url)
        opened = OpenBackend(self._backend, settings)
        await self._backend.open()
        try:
            await self._write_settings(opened)
        except BaseException:
            await self._backend.close()
            raise
        return opened

    async def _write_settings(self, opened: OpenBackend) -> None:
        """Write all settings, also those that are declared meanwhile."""
        while declared := self._registry.settings[opened.declared :]:
            by_queue: dict[str, list[Setting]] = {}
            for queue, setting in declared:
                by_queue.setdefault(queue, []).append(setting)
            for queue, settings in by_queue.items():
                await opened.backend.queue(queue).configure(settings)
            opened.declared += len(declared)

    def _not_open_here(self, owner: LoopOwner | None) -> ConfigurationError:
        if owner is None or owner.is_stale or owner.loop is asyncio.get_running_loop():
            return ConfigurationError(
                "This Fifoq is not open. Open it with `async with tasks:`, or in FastAPI with "
                "lifespan=lifespan(tasks); from a thread or a script without a loop, use the *_sync forms."
            )
        return _Elsewhere(_ELSEWHERE)

    # ---- calls from threads ----

    def run(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run `work()` on the loop that has this open, or else on the portal's loop, and return its result."""
        while True:
            owner = self._owner
            try:
                if owner is None or owner.is_stale or self._portal.owns(owner.loop):
                    return hop(self._portal.loop, lambda: self._run_on_portal(work))
                if owner.thread == threading.get_ident():
                    raise ConfigurationError(
                        "A *_sync call on the thread of the event loop would block the loop it waits for. "
                        "Use the form without _sync, with await."
                    )
                return hop(owner.loop, partial(self._run_for_thread, owner, work))
            except LoopGone:
                continue  # it was closed, or opened on another loop, just now: nothing was done, so look again

    async def _run_for_thread(self, owner: LoopOwner, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        task = asyncio.current_task()
        assert task is not None
        await self._wait_until_open(owner)
        owner.thread_calls.add(task)
        try:
            return await work()
        finally:
            owner.thread_calls.discard(task)

    async def _wait_until_open(self, owner: LoopOwner) -> None:
        """Wait for an open or close that is under way. Raises LoopGone if the connection is closed after it."""
        try:
            if owner.opened is None:
                async with owner.lock:
                    pass
        except asyncio.CancelledError:
            raise LoopGone from None
        if owner.opened is None:
            raise LoopGone

    async def _run_on_portal(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        try:
            owner = await self._add_user()
        except _Elsewhere as error:
            raise LoopGone from error
        # The first call keeps it open: to open it for each call would cost a connection each time.
        if not owner.kept_by_portal:
            owner.kept_by_portal = True
            owner.users += 1
        try:
            await self._ensure_open(owner)
            return await work()
        finally:
            await self.release()

    async def _hand_over(self, owner: LoopOwner) -> None:
        """On the portal's loop: release the portal's own use, and return when the last sync call there has left."""
        await self._leave_portal()
        await owner.released.wait()

    async def _leave_portal(self) -> None:
        """On the portal's loop: release the use that the first sync call began."""
        owner = self._owner
        if owner is not None and owner.kept_by_portal and self._portal.owns(owner.loop):
            owner.kept_by_portal = False
            await self.release()
