"""A store that breaks a promise is caught by the checker, in a real run: what it never caught it does not prove."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from fifoq import Context, Fifoq, Limit
from fifoq.limits import GateSettings
from fifoq.queue import Backend, Call, Receipt, Setting
from fifoq.record import JobSpec, Release, Settlement, State, Succeed
from fifoq.testing.history import MemoryLog, Producer, Rule, attempt, check, write_finals
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue

JOBS, KEYS = 200, 5


class IgnoresKeys(WrappedQueue):
    """It claims whatever is oldest, whether its key is busy or not."""

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> Any:
        return await self._queue.put(call, [[spec._replace(key=None) for spec in batch] for batch in batches])


class IgnoresLimits(WrappedQueue):
    async def configure(self, settings: Sequence[Setting]) -> None: ...


class Forgets(WrappedQueue):
    """It acknowledges some jobs that it never keeps."""

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> Any:
        kept = [[spec for spec in batch if not spec.id.endswith("7")] for batch in batches]
        await self._queue.put(call, kept)
        return tuple(tuple(Receipt(spec.id, True) for spec in batch) for batch in batches)


class RunsAgain(WrappedQueue):
    """It takes a success for a wish to run again."""

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> Any:
        def other(one: Settlement) -> Settlement:
            if one.id.endswith("7") and isinstance(one.outcome, Succeed) and one.id not in self._seen:
                self._seen.add(one.id)
                return one._replace(outcome=Release(0, 0))
            return one

        states = await self._queue.settle(call, [other(one) for one in settlements])
        return tuple(None if state is None else State.SUCCEEDED for state in states)

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self._seen: set[str] = set()


class Overtakes(WrappedQueue):
    """It acknowledges some calls at once, and enters them after the next one."""

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self._held: list[Sequence[JobSpec]] = []

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> Any:
        held, self._held = self._held, [batch for batch in batches if batch[0].id.endswith("7")]
        await self._queue.put(call, [batch for batch in batches if batch not in self._held] + held)
        return tuple(tuple(Receipt(spec.id, True) for spec in batch) for batch in batches)


FAULTS = {
    WrappedQueue: None,
    IgnoresKeys: Rule.OVERLAP,
    IgnoresLimits: Rule.LIMIT,
    Forgets: Rule.LOST,
    RunsAgain: Rule.DUPLICATED,
    Overtakes: Rule.ORDER,
}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
async def test_a_store_that_breaks_a_promise_is_caught(
    url: str,
    log: MemoryLog,
    plant: Callable[[Callable[[Backend], Any]], None],
    kind: type[WrappedQueue],
) -> None:
    plant(lambda backend: WrappedBackend(backend, kind))
    tasks = Fifoq(url)

    @tasks.task(key="match", limit=Limit(3))
    async def play(ctx: Context, match: str, number: int) -> None:
        with attempt(log, ctx) as effect:
            await asyncio.sleep(0.002)
            effect()

    producer = Producer(log)

    def call(number: int) -> Awaitable[Any]:
        id, match = f"job-{number}", f"m{number // 4 % KEYS}"
        return producer.enqueue("default", id, match, lambda: play.options(id=id).enqueue(match, number))

    async with tasks:
        await asyncio.gather(*map(call, range(JOBS)))
        await tasks.worker(concurrency=10).drain()
        await write_finals(log, tasks.jobs())
    outcome = check(log.events, {("default", "play"): GateSettings(limit=3)})
    fault = FAULTS[kind]
    assert outcome.ok if fault is None else fault in outcome.rules, str(outcome)
