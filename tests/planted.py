"""
Stores that break a promise, to see that the history checker finds it.

Each wraps the verbs of a sound store. The tests of one process and those of many plant the same ones.
"""

import os
from collections.abc import Sequence
from typing import Any

from fifoq.queue import Call, Receipt, Setting
from fifoq.record import Extension, Hold, JobSpec, Release, Settlement, State, Succeed
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue


class IgnoresKeys(WrappedQueue):
    """It claims the oldest job, whether its key is busy or not."""

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> Any:
        return await self._queue.put(call, [[spec._replace(key=None) for spec in batch] for batch in batches])


class IgnoresLimits(WrappedQueue):
    """It stores no limits."""

    async def configure(self, settings: Sequence[Setting]) -> None: ...


class Forgets(WrappedQueue):
    """It acknowledges some jobs that it never stores."""

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> Any:
        await self._queue.put(call, [[spec for spec in batch if not spec.id.endswith("7")] for batch in batches])
        return _all_created(batches)


class RunsAgain(WrappedQueue):
    """It releases some jobs that succeeded."""

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self._seen: set[str] = set()

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> Any:
        def other(one: Settlement) -> Settlement:
            if one.id.endswith("7") and isinstance(one.outcome, Succeed) and one.id not in self._seen:
                self._seen.add(one.id)
                return one._replace(outcome=Release(0, 0))
            return one

        states = await self._queue.settle(call, [other(one) for one in settlements])
        return tuple(None if state is None else State.SUCCEEDED for state in states)


class Overtakes(WrappedQueue):
    """It acknowledges some puts at once, and stores them after the next one."""

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self._held: list[Sequence[JobSpec]] = []

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> Any:
        held, self._held = self._held, [batch for batch in batches if batch[0].id.endswith("7")]
        await self._queue.put(call, [batch for batch in batches if batch not in self._held] + held)
        return _all_created(batches)


class IgnoresTokens(WrappedQueue):
    """It accepts a settlement with any token."""

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> Any:
        states = await self._queue.settle(call, settlements)
        return tuple(State.SUCCEEDED if state is None else state for state in states)


class LeasesShortly(WrappedQueue):
    """Its leases end after half of their time."""

    async def claim(self, call: Call, worker: str, n: int, lease: int, *rest: Any) -> Any:
        return await self._queue.claim(call, worker, n, lease // 2, *rest)

    async def extend(self, extensions: Sequence[Extension]) -> Any:
        return await self._queue.extend([one._replace(lease=one.lease // 2) for one in extensions])


class AnswersFirst(WrappedQueue):
    """It acknowledges a put before it stores it: a process that is killed then loses the jobs."""

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self._late: list[tuple[Call, Sequence[Sequence[JobSpec]]]] = []

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> Any:
        late, self._late = self._late, [(call, batches)]
        for one in late:
            await self._queue.put(*one)
        return _all_created(batches)


class IgnoresIds(WrappedQueue):
    """It stores each put as a new job, even a repeat."""

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> Any:
        fresh = [[spec._replace(id=f"{spec.id}.{os.getpid()}") for spec in batch] for batch in batches]
        await self._queue.put(call, fresh)
        return _all_created(batches)


class ExtendsForAll(WrappedQueue):
    """It answers every extension that the lease is held."""

    async def extend(self, extensions: Sequence[Extension]) -> Any:
        await self._queue.extend(extensions)
        return (Hold.HELD,) * len(extensions)


def _all_created(batches: Sequence[Sequence[JobSpec]]) -> tuple[tuple[Receipt, ...], ...]:
    return tuple(tuple(Receipt(spec.id, True) for spec in batch) for batch in batches)


PLANTED: dict[str, type[WrappedQueue]] = {
    kind.__name__: kind
    for kind in (
        WrappedQueue, IgnoresKeys, IgnoresLimits, Forgets, RunsAgain, Overtakes, IgnoresTokens, LeasesShortly,
        AnswersFirst, IgnoresIds, ExtendsForAll,
    )
}  # fmt: skip


def break_promise(name: str, backend: Any) -> Any:
    """Wrap `backend` in the store of that name; without a name, return it as it is."""
    return WrappedBackend(backend, PLANTED[name]) if name else backend
