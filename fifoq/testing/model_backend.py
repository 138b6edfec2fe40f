"""
The reference model as a backend: slow and correct, for tests that need a backend and must not trust a real one.

Its jobs are in the memory of the process, like those of `memory://`. Any number of backends, on any threads, share one
store.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from fifoq.clock import Clock, ProcessClock
from fifoq.errors import JobNotFound
from fifoq.queue import (
    MAX_PAGE,
    Audit,
    BlockedKeyRecord,
    BlockedKeys,
    Call,
    Changed,
    PutReply,
    Setting,
    Stats,
)
from fifoq.record import Claimed, Extension, Filter, Hold, JobSpec, Record, Records, Settlement, State
from fifoq.testing.model import Model

R = TypeVar("R")

POLL_INTERVAL = 0.002
"""Seconds between two reads of a call that waits."""


class ModelStore:
    """The queues that all backends of one store share."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or ProcessClock()
        self.lock = threading.RLock()
        self.models: dict[str, Model] = {}
        self.made: set[str] = set()
        self.changes = 0

    def model(self, name: str) -> Model:
        return self.models.setdefault(name, Model(self.clock))


class ModelQueue:
    """One queue of a ModelStore: `fifoq.queue.Queue`."""

    def __init__(self, store: ModelStore, name: str) -> None:
        self.name = name
        self._store = store

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        return self._change(lambda model: model.put(call, batches), makes=True)

    async def claim(
        self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int = 0
    ) -> Claimed:
        return self._change(lambda model: model.claim(call, worker, n, lease, tasks))

    async def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        return self._change(lambda model: model.extend(extensions))

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        return self._change(lambda model: model.settle(call, settlements))

    async def cancel(self, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
        return self._change(lambda model: model.cancel(ids, reason))

    async def requeue(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return self._change(lambda model: model.requeue(ids))

    async def skip(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        return self._change(lambda model: model.skip(ids))

    async def configure(self, settings: Sequence[Setting]) -> None:
        self._change(lambda model: model.configure(settings), makes=True)

    async def purge(self, limit: int) -> int:
        return self._change(lambda model: model.purge(limit))

    async def get(self, ids: Sequence[str]) -> tuple[Record | None, ...]:
        return self._read(lambda model: model.get(ids))

    async def find(self, filter: Filter, cursor: int, limit: int) -> Records:
        def page_of(model: Model) -> Records:
            ahead = [record for record in model.find(Filter()) if record.entry > cursor]
            read = ahead[:MAX_PAGE]
            wanted = set(model.find(filter))
            page = [record for record in read if record in wanted][:limit]
            last = page[-1] if len(page) == limit else read[-1] if read else None
            return Records(tuple(page), last.entry if last and last is not ahead[-1] else None)

        return self._read(page_of)

    async def stats(self) -> Stats:
        return self._read(Model.stats)

    async def blocked_keys(self, cursor: str | None, limit: int, owner: str | None = None) -> BlockedKeys:
        def after(one: BlockedKeyRecord) -> bool:
            return cursor is None or _cursor(one) > cursor

        blocked = [one for one in self._read(lambda model: model.blocked_keys(owner)) if after(one)]
        page = tuple(blocked[: min(limit, MAX_PAGE)])
        return BlockedKeys(page, _cursor(page[-1]) if len(page) < len(blocked) else None)

    async def audit(self) -> Audit:
        return self._read(lambda model: Audit((), len(model.state.jobs)))

    async def wait(self, timeout: float) -> bool:
        before = self._store.changes

        def changed() -> bool | None:
            return True if self._store.changes > before else None

        return await _until(changed, timeout) or False

    def expect(self, id: str) -> None:
        pass

    async def finished(self, id: str, timeout: float) -> Record | None:
        def ended() -> Record | None:
            (record,) = self._read(lambda model: model.get([id]))
            if record is None:
                raise JobNotFound(id, self.name)
            return record if record.state.ended else None

        return await _until(ended, timeout)

    def _change(self, apply: Callable[[Model], R], *, makes: bool = False) -> R:
        with self._store.lock:
            if makes:
                self._store.made.add(self.name)
            self._store.changes += 1
            return apply(self._store.model(self.name))

    def _read(self, read: Callable[[Model], R]) -> R:
        with self._store.lock:
            return read(self._store.model(self.name))


class ModelBackend:
    """A backend on a ModelStore: `fifoq.queue.Backend`."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._queues: dict[str, ModelQueue] = {}

    async def open(self) -> None:
        """Connect to nothing: the store is in this process."""

    async def close(self) -> None:
        """Free nothing: the jobs stay in the store."""

    def twin(self) -> "ModelBackend":
        return ModelBackend(self._store)

    def queue(self, name: str) -> ModelQueue:
        return self._queues.setdefault(name, ModelQueue(self._store, name))

    async def queues(self) -> tuple[str, ...]:
        return tuple(sorted(self._store.made))

    async def check(self) -> tuple[str, ...]:
        return ()


def _cursor(one: BlockedKeyRecord) -> str:
    return f"{one.since:020}:{one.key}"


async def _until(read: Callable[[], R | None], timeout: float) -> R | None:
    """Return the first value of `read` that is not None within `timeout` real seconds, or None."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while (found := read()) is None and loop.time() < end:  # noqa: ASYNC110 - a change of the store has no event
        await asyncio.sleep(min(POLL_INTERVAL, max(0.0, end - loop.time())))
    return found
