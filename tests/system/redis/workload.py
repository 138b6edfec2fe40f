"""A load of keyed jobs, from one Fifoq, on the workers of others: servers break under it, its history is proven."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

from fifoq import Context, Fifoq, Retry
from fifoq.backends import connect
from fifoq.errors import BackendError
from fifoq.queue import Backend, Queue
from fifoq.record import Filter, Record, State
from fifoq.testing.history import (
    Answer,
    Answered,
    Ended,
    MemoryLog,
    Producer,
    Report,
    Settled,
    Started,
    attempt,
    check,
    write_finals,
)
from fifoq.testing.history.events import Event
from fifoq_redis.functions import library
from tests.servers.proxy import Command, Match

QUEUE = "league"
LONG = 60.0
"""Seconds: what takes longer on the busiest machine does not happen any more."""
KEYS, FLIGHT = 6, 5
PATIENCE = 2.0
"""Seconds for which an enqueue is tried again by fifoq itself. After that the load does it, as a user would."""


class Party:
    """One Fifoq with the tasks of the load, as each process of an app has it."""

    def __init__(self, url: str, log: MemoryLog, lease: float, work: float) -> None:
        self.tasks = Fifoq(url, lease=lease, patience=PATIENCE)
        settings: dict[str, Any] = {"queue": QUEUE, "retry": Retry(attempts=1_000, backoff=0.01), "max_crashes": 1_000}

        async def play(ctx: Context, match: str, number: int, seconds: float = work) -> int:
            with attempt(log, ctx) as effect:
                await asyncio.sleep(seconds)
                effect()
            return number

        async def echo(value: int) -> int:
            return value

        self.play = self.tasks.task(key="match", **settings)(play)
        self.echo = self.tasks.task(retain=0.0, **settings)(echo)


class Load:
    """
    `async with Load(url, log) as load` opens a producer; `load.workers(2)` runs workers for a block.

    What is put is put for good: an enqueue that raised a BackendError is repeated until it is accepted, job by job, in
    order, as a user would. `lease` and `work`, in seconds, are those of every job.
    """

    def __init__(self, url: str, log: MemoryLog, *, lease: float = 1.0, work: float = 0.002) -> None:
        self._url, self._log, self._lease, self._work = url, log, lease, work
        self._producer = Producer(log)
        self.party = self._make()
        self.store: Backend = connect(url)
        """A look at the store that does not go through what is tested."""
        self.jobs = 0
        """How many were put, and accepted."""
        self.troubles: Counter[str] = Counter()
        """The errors that enqueues raised, by name."""
        self._stack = AsyncExitStack()

    def _make(self) -> Party:
        return Party(self._url, self._log, self._lease, self._work)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.party.tasks)
        await self.store.open()
        self._stack.push_async_callback(self.store.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def queue(self) -> Queue:
        return self.store.queue(QUEUE)

    @asynccontextmanager
    async def workers(self, count: int = 2, **settings: Any) -> AsyncGenerator[None]:
        """Run so many workers, each of a Fifoq of its own."""
        async with AsyncExitStack() as stack:
            for _ in range(count):
                tasks = self._make().tasks
                await stack.enter_async_context(tasks)
                arguments: Any = {"concurrency": 10, "grace": 10.0, **settings}
                await stack.enter_async_context(tasks.worker(**arguments))
            yield

    async def put(self, count: int, **arguments: Any) -> None:
        """Put so many jobs, some at a time; each key's in order."""
        for first in range(self.jobs, self.jobs + count, FLIGHT):
            numbers = range(first, min(first + FLIGHT, self.jobs + count))
            await asyncio.gather(*(self._put(number, arguments) for number in numbers))
        self.jobs += count

    async def flow(self, until: Awaitable[Any], pause: float = 0.005) -> Any:
        """Put jobs, some each `pause` seconds, until something has come about; return what came of it."""
        waiting = asyncio.ensure_future(until)
        while not waiting.done():
            await self.put(FLIGHT)
            await asyncio.sleep(pause)
        return await waiting

    async def all_ended(self) -> None:
        """Return once nothing is left to do."""
        await self.until(self._is_idle, "the end of all jobs")

    async def until(self, holds: Callable[[], Awaitable[bool] | bool], what: str) -> None:
        """Look again and again until something is so."""
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            found = holds()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{what} did not come: {await self.queue.stats()}, {self.troubles}")

    async def records(self) -> list[Record]:
        """What the store holds of the jobs that were put."""
        found: list[Record] = []
        cursor: int | None = 0
        while cursor is not None:
            page = await self.queue.find(Filter(task="play"), cursor, 1_000)
            found += page.records
            cursor = page.cursor
        return found

    def begun(self, count: int) -> Callable[[], bool]:
        """Whether so many attempts have begun so far."""
        return lambda: self.starts >= count

    @property
    def starts(self) -> int:
        """How many attempts have begun so far."""
        return sum(isinstance(event, Started) for event in self._log.events)

    def ended(self, count: int) -> Callable[[], bool]:
        """Whether so many attempts have ended so far."""
        return lambda: sum(isinstance(event, Ended) for event in self._log.events) >= count

    async def attentive(self) -> None:
        """
        Fail if idle workers do not hear of new jobs, but only find them when they ask: each 0.75 s.

        Six jobs come at no particular time of that. Who hears of them needs some 5 ms for each; who only asks, two
        seconds for all, and hardly ever a quarter of that. A busy machine gets another chance.
        """
        taken: list[float] = []
        for _ in range(4):
            taken.append(await self._six_calls())
            if taken[-1] < 0.4:
                return
        raise AssertionError(f"nobody hears of new jobs: six of them took {[f'{one:.2f}' for one in taken]} s")

    async def _six_calls(self) -> float:
        taken = 0.0
        for number in range(6):
            await asyncio.sleep(0.11)  # the workers are idle again
            start = time.monotonic()
            assert await self.party.echo.options(wait=LONG).call(number) == number
            taken += time.monotonic() - start
        return taken

    async def assert_every_reply_was_received(self) -> None:
        """Each put was told that it made its job, no lease ended by itself, and each settlement stood."""
        answers = {event.answer for event in self._log.events if isinstance(event, Answered)}
        assert answers == {Answer.ACCEPTED}
        assert {(record.attempt, record.crashes) for record in await self.records()} == {(1, 0)}
        assert None not in {event.state for event in self._log.events if isinstance(event, Settled)}

    async def prove(self, *allowed: str) -> Report:
        """Prove the history, and that the store is sound; violations of the `allowed` rules do not count."""
        jobs = self.party.tasks.jobs(queue=QUEUE)
        await write_finals(self._log, (job async for job in jobs if job.task == "play"))
        audit = await self.queue.audit()
        assert audit.differences == ()
        report = check(self._log.events)
        assert set(report.rules) <= set(allowed), f"{set(report.rules)}: {report}"
        return report

    async def _is_idle(self) -> bool:
        try:
            stats = await self.queue.stats()
        except BackendError:
            return False
        return stats.scheduled + stats.waiting + stats.running == 0

    async def _put(self, number: int, arguments: dict[str, Any]) -> None:
        id, match = f"job-{number}", f"m{number % KEYS}"
        play = self.party.play.options(id=id)
        end = time.monotonic() + LONG
        while True:
            try:
                await self._producer.enqueue(QUEUE, id, match, lambda: play.enqueue(match, number, **arguments))
            except BackendError as error:
                self.troubles[type(error).__name__] += 1
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.02)
            else:
                return


# ---- a store that was set back ----


def assert_survivors_in_order(records: list[Record], events: list[Event]) -> None:
    """
    Each key's jobs entered, and last began, in the order in which they were enqueued, and all of them ended.

    The rules of the history are not for this: the store was set back, so fences come twice, and jobs run again.
    """
    began: dict[str, int] = {}
    for event in events:
        if isinstance(event, Started):
            began[event.job] = max(event.at, began.get(event.job, 0))
    lines: dict[str | None, list[tuple[int, int, int]]] = defaultdict(list)
    for record in records:
        assert record.state is State.SUCCEEDED, record
        lines[record.spec.key].append((record.entry, number_of(record), began[record.spec.id]))
    assert len(lines) == KEYS
    for key, line in lines.items():
        _, numbers, starts = zip(*sorted(line), strict=True)
        assert list(numbers) == sorted(numbers), f"the jobs of key {key} entered in another order: {numbers}"
        assert list(starts) == sorted(starts), f"the jobs of key {key} last began in another order"


def number_of(record: Record) -> int:
    return int(record.spec.id.removeprefix("job-"))


# ---- measuring ----


@asynccontextmanager
async def ticking() -> AsyncGenerator[list[float]]:
    """Yield a list that grows by the seconds by which each timer of 10 ms was late."""
    late: list[float] = [0.0]

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            late.append(time.monotonic() - before - 0.01)

    task = asyncio.create_task(tick())
    try:
        yield late
    finally:
        task.cancel()


# ---- commands on the wire ----


def verb(name: str) -> Match:
    """Match the calls of one function of fifoq: `put`, `claim`, `settle`, `extend` and so on."""
    function = library().functions[name]

    def match(command: Command) -> bool:
        return command[0].upper() == b"FCALL" and command[1] == function

    return match
