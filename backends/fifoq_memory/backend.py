"""`memory://`: a backend in the memory of this process, which loses all with it."""

import copy
import logging
import multiprocessing
import os
import re
from threading import Lock
from typing import Self

from fifoq.clock import Clock, ProcessClock
from fifoq.errors import ConfigurationError
from fifoq.names import check_queue_name
from fifoq_memory.queue import MemoryQueue

_NAME = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_VOLATILE = "memory:// loses all jobs when this process ends."
_PRIVATE = (
    "memory:// is private to each process, and this is one of several: jobs that another one enqueues are not seen "
    "here. Use one process, or a sqlite:// or redis:// URL."
)
_log = logging.getLogger("fifoq.memory")


# ---- stores ----


class Store:
    """Queues by name, on one clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or ProcessClock()
        self.warned = False
        """Whether the warning that other processes do not see this store was logged."""
        self._lock = Lock()
        self._queues: dict[str, MemoryQueue] = {}

    def queue(self, name: str) -> MemoryQueue:
        with self._lock:
            queue = self._queues.get(name)
            if queue is None:
                queue = self._queues[name] = MemoryQueue(check_queue_name(name), self.clock)
            return queue

    def names(self) -> tuple[str, ...]:
        """Return the names of the queues that were put into, or configured."""
        with self._lock:
            return tuple(sorted(name for name, queue in self._queues.items() if queue.made))


_shared: dict[str, Store] = {}
_lock = Lock()


def shared_store(name: str, clock: Clock | None) -> Store:
    """Return the store of that name: one for all of the process, whether or not a backend is open on it."""
    with _lock:
        store = _shared.get(name)
        if store is None:
            store = _shared[name] = Store(clock)
        if clock is not None and clock is not store.clock:
            raise ConfigurationError(
                f"memory://{name} exists in this process and runs on another clock. A store has one clock: "
                "pass the same one, or none to use the store's, or choose another name."
            )
        return store


# ---- the backend ----


class MemoryBackend:
    """
    `fifoq.queue.Backend` in memory.

    `memory://` is private to this object and its twins; `memory://name` is one store per name in the process, kept
    until the process ends. It may be used from any number of threads and loops at once.

        backend = MemoryBackend("memory://")
        await backend.queue("stats").put(call, [[spec]])
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        name = read_url(url)
        self._store = shared_store(name, clock) if name else Store(clock)

    async def open(self) -> None:
        """Warn, once per store, if other processes of this server cannot see it."""
        if is_one_of_several() and not self._store.warned:
            self._store.warned = True
            _log.warning(_PRIVATE)

    async def close(self) -> None:
        """Free nothing: the jobs stay in the store."""

    def twin(self) -> Self:
        return copy.copy(self)

    def queue(self, name: str) -> MemoryQueue:
        return self._store.queue(name)

    async def queues(self) -> tuple[str, ...]:
        return self._store.names()

    async def check(self) -> tuple[str, ...]:
        return (_VOLATILE, _PRIVATE) if is_one_of_several() else (_VOLATILE,)


def read_url(url: str) -> str:
    """Return the name in `memory://name`, or "". Raises ConfigurationError for other URLs, without a password."""
    scheme, separator, name = url.partition("://")
    if not separator or scheme.lower() != "memory":
        raise ConfigurationError("A URL of the memory backend is memory:// or memory://name.")
    if "@" in name:
        raise ConfigurationError("A memory:// URL has no user and no password. Write memory:// or memory://name.")
    for sign, part in (("#", "fragment"), ("?", "query parameters"), ("/", "path")):
        if sign in name:
            raise ConfigurationError(
                f"A memory:// URL has no {part}, unlike {url!r}. Write memory:// or memory://name."
            )
    if name and not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"The name in memory://name has 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -, unlike {name!r}."
        )
    return name


def is_one_of_several() -> bool:
    """Whether this process seems to be one of several of a server."""
    workers = os.environ.get("WEB_CONCURRENCY", "")
    return multiprocessing.parent_process() is not None or (workers.isdecimal() and int(workers) > 1)
