"""Stores that break a promise, to see that the history shows it: each wraps one verb of a sound one."""

import os
from typing import Any

from fifoq.queue import Receipt
from fifoq.record import Hold, State
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue


class IgnoresTokens(WrappedQueue):
    """It takes a settlement from whoever sends it."""

    async def settle(self, call: Any, settlements: Any) -> Any:
        states = await self._queue.settle(call, settlements)
        return tuple(State.SUCCEEDED if state is None else state for state in states)


class LeasesShortly(WrappedQueue):
    """A lease is over in half of its time."""

    async def claim(self, call: Any, worker: str, n: int, lease: int, *rest: Any) -> Any:
        return await self._queue.claim(call, worker, n, lease // 2, *rest)

    async def extend(self, extensions: Any) -> Any:
        return await self._queue.extend([one._replace(lease=one.lease // 2) for one in extensions])


class IgnoresKeys(WrappedQueue):
    """It claims whatever is oldest, whether its key is busy or not."""

    async def put(self, call: Any, batches: Any) -> Any:
        return await self._queue.put(call, [[spec._replace(key=None) for spec in batch] for batch in batches])


class AnswersFirst(WrappedQueue):
    """It acknowledges a put that it has not written yet: who is killed then loses it."""

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self._late: list[Any] = []

    async def put(self, call: Any, batches: Any) -> Any:
        late, self._late = self._late, [(call, batches)]
        for one in late:
            await self._queue.put(*one)
        return _all_created(batches)


class IgnoresIds(WrappedQueue):
    """It takes each put for a new one, even a repeat."""

    async def put(self, call: Any, batches: Any) -> Any:
        fresh = [[spec._replace(id=f"{spec.id}.{os.getpid()}") for spec in batch] for batch in batches]
        await self._queue.put(call, fresh)
        return _all_created(batches)


class ExtendsForAll(WrappedQueue):
    """It tells whoever asks that the lease is held."""

    async def extend(self, extensions: Any) -> Any:
        await self._queue.extend(extensions)
        return (Hold.HELD,) * len(extensions)


class Forgets(WrappedQueue):
    """It acknowledges some jobs that it never keeps."""

    async def put(self, call: Any, batches: Any) -> Any:
        await self._queue.put(call, [[spec for spec in batch if not spec.id.endswith("7")] for batch in batches])
        return _all_created(batches)


def _all_created(batches: Any) -> Any:
    return tuple(tuple(Receipt(spec.id, True) for spec in batch) for batch in batches)


FAULTS = {
    kind.__name__: kind
    for kind in (
        WrappedQueue, IgnoresTokens, LeasesShortly, IgnoresKeys, AnswersFirst, IgnoresIds, ExtendsForAll, Forgets,
    )
}  # fmt: skip


def break_promise(fault: str, backend: Any) -> Any:
    """Wrap `backend` so that it breaks a promise; without a fault, return it as it is."""
    return WrappedBackend(backend, FAULTS[fault]) if fault else backend
