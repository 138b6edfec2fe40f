"""Operations of a Fifoq beside enqueueing: looking at jobs and steering them. Queues are read in order of name."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypedDict, TypeVar, Unpack
from uuid import UUID

from fifoq.clock import SECOND
from fifoq.codec import cut, encodable
from fifoq.connection import BackendConnection
from fifoq.errors import IdConflict, InvalidArguments, JobNotFound
from fifoq.job import Job, datetime_of
from fifoq.names import check_name, check_queue_name, check_text
from fifoq.queue import MAX_PAGE, Changed, Gate, Pause, Queue, Resume, Stats
from fifoq.record import Filter, State
from fifoq.registry import Registry
from fifoq.task.handle import JobHandle
from fifoq.task.task import NewJob, put_batch
from fifoq.task.waiting import end_of

T = TypeVar("T")
R = TypeVar("R")
JobId = str | UUID
StateName = Literal["scheduled", "waiting", "running", "succeeded", "failed", "cancelled"]

_LONGEST_ENTRY = 15
"""Digits of an entry: numbers of 48 bits, which every store can hold."""

# ---- results ----


class GateStats(NamedTuple):
    """What bounds the jobs of a queue, or of one of its tasks, and how many there are."""

    task: str | None
    """None: the bounds of the whole queue."""
    paused: bool
    limit: int | None
    """How many may run at a time."""
    value_limit: int | None
    """How many may run at a time for each value of the argument that the task's limit is `by`."""
    rate: float | None
    """How many may begin in a second."""
    burst: int
    """How many of them may begin at once."""
    capacity: int | None
    """How many may be scheduled, waiting or running."""
    overridden: bool
    """An operator's settings count, not those that were declared."""
    live: int
    """How many are scheduled, waiting or running."""
    running: int


class QueueStats(NamedTuple):
    """The jobs of one queue, counted at one instant, and what bounds them."""

    scheduled: int
    waiting: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    oldest_waiting: float | None
    """For how many seconds the first job in line has waited; None if none waits."""
    declared: bool = True
    """Whether this Fifoq knows the queue, or the store alone."""
    gates: tuple[GateStats, ...] = ()
    """Of the queue itself, and of each task that was declared, is paused, or has jobs, by name."""

    @property
    def paused(self) -> bool:
        """Whether the queue as a whole is paused."""
        return bool(self.gates) and self.gates[0].paused


class BlockedKey(NamedTuple):
    """A key whose next job may not begin, for another reason than that a job of it runs. See `BlockedKeyRecord`."""

    queue: str
    key: str
    job_id: str | None
    """The job that blocks it; None if the key is paused and has no job."""
    reason: str
    """`halted`, `paused` or `backing off`."""
    since: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs of one queue, in order of entry, as they were at one instant."""

    jobs: tuple[Job, ...]
    cursor: str | None
    """The `cursor=` of the next page; None at the end."""

    def first(self, count: int) -> "Page":
        """Return the page that ends behind the first `count` jobs of this one, one at least."""
        if count >= len(self.jobs):
            return self
        while count < len(self.jobs) and not self.jobs[count - 1].entry:  # damaged, at a place that is not known
            count += 1
        last = self.jobs[count - 1]
        return Page(self.jobs[:count], cursor_at(last.queue, last.entry))

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Some blocked keys of one queue, those blocked for longest first."""

    keys: tuple[BlockedKey, ...]
    cursor: str | None
    """The `cursor=` of the next page; None at the end."""

    def __iter__(self) -> Iterator[BlockedKey]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


# ---- operations ----


class JobFilter(TypedDict, total=False):
    """Chooses jobs: those that match each part that is given and not None."""

    state: State | StateName | None
    queue: str | None
    task: str | None
    key: str | None
    owner: str | None


class Operations:
    """
    Operations for operators, and for programs that show jobs. Each reads from the backend; no state is kept here.

    An id is unique in its queue. Without `queue=`, the job is looked up in all queues of this Fifoq, and the first one
    found counts. Pages and counts go through all queues of the store, also those that only other programs declare,
    unless `declared=True`. All operations raise ConfigurationError if the Fifoq is not open on this loop.
    """

    def __init__(self, registry: Registry, connection: BackendConnection) -> None:
        self._registry = registry
        self._connection = connection

    async def get(self, id: JobId, *, queue: str | None = None) -> Job:
        """Return the job as it is now. Raises JobNotFound."""
        text = _id(id)
        for each in self._queues(queue):
            (record,) = await self._connection.queue(each).get([text])
            if record is not None:
                return Job(each, record)
        raise JobNotFound(text, queue)

    async def get_many(self, ids: Sequence[JobId], *, queue: str) -> list[Job | None]:
        """Return these jobs of one queue as they are now, all at one instant, None for each that is not there."""
        records = await self._connection.queue(check_queue_name(queue)).get([_id(id) for id in ids])
        return [None if record is None else Job(queue, record) for record in records]

    async def finished(self, id: JobId, *, queue: str | None = None, timeout: float | None = None) -> Job | None:
        """
        Wait for any job to end, also of a task that is not registered here, up to `timeout` seconds (None: for good).

        Returns the job once it has ended, in whichever way, or None after the timeout. The job goes on after that.
        Raises JobNotFound if there is none, or it is removed before it was seen to end; and ConfigurationError in a job
        for which this one waits.
        """
        text = _id(id)
        if queue is None:
            queue = (await self.get(text)).queue
        else:
            check_queue_name(queue)
        record = await end_of(self._connection, queue, text, timeout)
        return None if record is None else Job(queue, record)

    async def find(
        self, *, cursor: str | None = None, limit: int = 100, declared: bool = False, **filter: Unpack[JobFilter]
    ) -> Page:
        """
        Return up to `limit` jobs in order of entry, queue after queue. A page is of one queue, and one atomic look.

        `state`, `queue`, `task`, `key` and `owner` choose; `cursor` continues behind an earlier page. A page may be
        short, or empty, and still have a cursor: only a page without one is the last.
        """
        _check_limit(limit)
        wanted = _filter(filter)

        async def look(queue: str, position: str) -> tuple[list[Job], str | None]:
            records = await self._connection.queue(queue).find(wanted, _entry(position), limit)
            jobs = [Job(queue, record) for record in records.records]
            return jobs, None if records.cursor is None else str(records.cursor)

        jobs, following = await _page(await self._shown_queues(filter.get("queue"), declared), cursor, look)
        return Page(tuple(jobs), following)

    async def jobs(self, **filter: Unpack[JobFilter]) -> AsyncIterator[Job]:
        """Go through all jobs that `find` would show, page after page."""
        cursor: str | None = None
        while True:
            page = await self.find(cursor=cursor, limit=MAX_PAGE, **filter)
            for job in page.jobs:
                yield job
            cursor = page.cursor
            if cursor is None:
                return

    async def cancel(self, id: JobId, *, queue: str | None = None, reason: str = "cancelled by an operator") -> bool:
        """
        Cancel a job: at once if it has not begun; else a cancel is requested, and it may still end in another way.

        Returns whether that changed anything: False if it had ended, or was requested before. Raises JobNotFound.
        """
        text = cut(reason)
        return (await self._change(id, queue, lambda each, ids: each.cancel(ids, text))).changed

    async def requeue(self, id: JobId, *, queue: str | None = None) -> bool:
        """
        Put a failed job back, as if never tried: at its place if its key waits for it, else at the end of the line.

        Returns False if it is not failed. Raises JobNotFound, or IdConflict if another job holds its unique text.
        """
        changed = await self._change(id, queue, lambda each, ids: each.requeue(ids))
        if changed.conflict is not None:
            raise IdConflict(
                f"Job {_id(id)!r} cannot be requeued: job {changed.conflict!r} now holds its unique text. "
                "Wait until that one has ended, or cancel it.",
                id=changed.conflict,
            )
        return changed.changed

    async def skip(self, id: JobId, *, queue: str | None = None) -> bool:
        """Let the key of a halted job go on without it. Returns False if it holds no key. Raises JobNotFound."""
        return (await self._change(id, queue, lambda each, ids: each.skip(ids))).changed

    async def pause(self, queue: str, *, task: str | None = None, key: str | None = None) -> None:
        """
        Begin no job of the queue, of one of its tasks, or of one of its keys, until resumed. Idempotent.

        Raises InvalidArguments for a queue, or a task, that neither this Fifoq nor the store knows.
        """
        _check_one(task, key)
        await self._check_known(check_queue_name(queue), task)
        await self._connection.queue(check_queue_name(queue)).configure([Pause(task, key)])

    async def resume(self, queue: str, *, task: str | None = None, key: str | None = None) -> None:
        """Lift the pause of exactly that queue, task or key. Idempotent."""
        _check_one(task, key)
        await self._connection.queue(check_queue_name(queue)).configure([Resume(task, key)])

    async def stats(self, *, declared: bool = False) -> dict[str, QueueStats]:
        """Count the jobs of each queue, each at one instant; with their pauses, limits, rates and capacities."""
        names, known = await self._shown_queues(None, declared), self._registry.queues
        return {name: _stats(await self._connection.queue(name).stats(), name in known) for name in names}

    async def blocked_keys(
        self,
        *,
        queue: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
        owner: str | None = None,
        declared: bool = False,
    ) -> KeyPage:
        """
        Return up to `limit` keys that are halted, paused or backing off, queue after queue, the oldest first.

        With `owner`, those that a job of this owner blocks: a page may then be short, or empty, and have a cursor.
        """
        _check_limit(limit)
        wanted = _text("owner", owner)

        async def look(queue: str, position: str) -> tuple[list[BlockedKey], str | None]:
            page = await self._connection.queue(queue).blocked_keys(position or None, limit, wanted)
            return [BlockedKey(queue, *each[:3], datetime_of(each.since)) for each in page.keys], page.cursor

        keys, following = await _page(await self._shown_queues(queue, declared), cursor, look)
        return KeyPage(tuple(keys), following)

    async def check(self) -> tuple[str, ...]:
        """Reach the backend; return notes on it for its operator, a sentence each. Raises if it is unusable."""
        return await self._connection.open_backend().backend.check()

    async def _change(
        self, id: JobId, queue: str | None, change: Callable[[Queue, Sequence[str]], Awaitable[tuple[Changed, ...]]]
    ) -> Changed:
        text = _id(id)
        for each in self._queues(queue):
            (changed,) = await change(self._connection.queue(each), [text])
            if changed.state is not None:
                return changed
        raise JobNotFound(text, queue)

    def _queues(self, queue: str | None) -> tuple[str, ...]:
        return self._registry.queues if queue is None else (check_queue_name(queue),)

    async def _shown_queues(self, queue: str | None, declared: bool) -> tuple[str, ...]:
        """Return that queue; or all those of this Fifoq and, unless `declared`, of the store, in order of name."""
        if queue is not None or declared:
            return self._queues(queue)
        stored = await self._connection.open_backend().backend.queues()
        return tuple(sorted({*self._registry.queues, *stored}))

    async def _check_known(self, queue: str, task: str | None) -> None:
        if queue not in await self._shown_queues(None, declared=False):
            raise InvalidArguments(
                f"There is no queue {queue!r}, here or in the store, so it cannot be paused.", parameter="queue"
            )
        if task is None or any(each.name == task and each.queue == queue for each in self._registry.tasks.values()):
            return
        gates = (await self._connection.queue(queue).stats()).gates
        if task not in [gate.task for gate in gates]:
            raise InvalidArguments(
                f"There is no task {task!r} in queue {queue!r}, here or in the store, so it cannot be paused.",
                parameter="task",
            )


# ---- pages ----


async def _page(
    queues: Sequence[str], cursor: str | None, look: Callable[[str, str], Awaitable[tuple[list[T], str | None]]]
) -> tuple[list[T], str | None]:
    """Return one page of one queue, and the cursor behind it. Queues with no more items are passed over."""
    queue, position = _read_cursor(cursor, queues)
    remaining = list(queues[queues.index(queue) :] if queue else queues)
    while remaining:
        items, following = await look(remaining[0], position)
        if following is not None:
            return items, cursor_at(remaining[0], following)
        del remaining[0]
        if items:
            return items, cursor_at(remaining[0]) if remaining else None
        position = ""
    return [], None


def cursor_at(queue: str, position: object = "") -> str:
    """Return the cursor that goes on in that queue: behind that position, or at its first item."""
    return f"{len(queue)}:{queue}{position}"


def _read_cursor(cursor: str | None, queues: Sequence[str]) -> tuple[str | None, str]:
    if cursor is None:
        return None, ""
    length, _, rest = cursor.partition(":")
    queue = rest[: int(length)] if length.isdecimal() and len(length) < 4 else ""
    if queue not in queues or encodable(cursor) != cursor:
        raise _no_cursor()
    return queue, rest[len(queue) :]


def _entry(position: str) -> int:
    if position == "":
        return 0
    if position.isascii() and position.isdecimal() and len(position) <= _LONGEST_ENTRY:
        return int(position)
    raise _no_cursor()


def _no_cursor() -> InvalidArguments:
    return InvalidArguments("'cursor' is none that an earlier page of the same look gave.", parameter="cursor")


# ---- reading arguments ----


def _filter(given: JobFilter) -> Filter:
    unknown = given.keys() - JobFilter.__annotations__.keys()
    if unknown:
        raise InvalidArguments(f"Jobs cannot be chosen by {min(unknown)!r}.", parameter=min(unknown))
    state = given.get("state")
    if state is not None and state not in list(State):
        raise InvalidArguments(f"'state' is one of {', '.join(State)}, not {state!r}.", parameter="state")
    task, key, owner = (_text(name, given.get(name)) for name in ("task", "key", "owner"))
    return Filter(None if state is None else State(state), task, key, owner)


def _text(name: str, text: str | None) -> str | None:
    return None if text is None else check_text(name, text)


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidArguments(f"'limit' is a number from 1 to {MAX_PAGE}, not {limit!r}.", parameter="limit")


def _check_one(task: str | None, key: str | None) -> None:
    if task is not None and key is not None:
        raise InvalidArguments("Pause a task or a key of the queue, one at a time.", parameter="key")
    if key is not None:
        check_name("key", key)
    if task is not None:
        check_name("task name", task)


def _id(id: JobId) -> str:
    return check_name("job id", str(id))


def _gate(gate: Gate) -> GateStats:
    limit, value_limit, capacity, interval, burst = gate.settings
    rate = None if interval is None else SECOND / interval
    bounds = (limit, value_limit, rate, burst, capacity)
    return GateStats(gate.task, gate.paused, *bounds, gate.overridden, gate.live, gate.running)


def _stats(stats: Stats, declared: bool) -> QueueStats:
    waiting = None if stats.oldest_waiting is None else stats.oldest_waiting / SECOND
    counts = (stats.scheduled, stats.waiting, stats.running, stats.succeeded, stats.failed, stats.cancelled)
    return QueueStats(*counts, waiting, declared, tuple(_gate(gate) for gate in stats.gates))


# ---- operations from threads ----


class SyncOperations(Operations):
    """
    The operations for `def` routes, sync tasks and scripts. They block, so on the thread of the loop itself they raise.

    If this Fifoq is not open, the first of them opens it in a thread of its own, until it is opened on another loop.
    """

    def run_sync(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """
        Run `work()` on the loop where this Fifoq is open, and return its result: for all that has no sync form here.

            tasks.run_sync(lambda: tasks.worker().drain())
        """
        return self._connection.run(work)

    def enqueue_many_sync(self, jobs: Sequence[NewJob[R]]) -> list[JobHandle[R]]:
        """As `enqueue_many`."""
        return self._connection.run(lambda: put_batch(self._connection, jobs))

    def get_sync(self, id: JobId, *, queue: str | None = None) -> Job:
        """As `get`."""
        return self._connection.run(lambda: self.get(id, queue=queue))

    def get_many_sync(self, ids: Sequence[JobId], *, queue: str) -> list[Job | None]:
        """As `get_many`."""
        return self._connection.run(lambda: self.get_many(ids, queue=queue))

    def finished_sync(self, id: JobId, *, queue: str | None = None, timeout: float | None = None) -> Job | None:
        """As `finished`."""
        return self._connection.run(lambda: self.finished(id, queue=queue, timeout=timeout))

    def find_sync(
        self, *, cursor: str | None = None, limit: int = 100, declared: bool = False, **filter: Unpack[JobFilter]
    ) -> Page:
        """As `find`."""
        return self._connection.run(lambda: self.find(cursor=cursor, limit=limit, declared=declared, **filter))

    def jobs_sync(self, **filter: Unpack[JobFilter]) -> Iterator[Job]:
        """As `jobs`."""
        page = self.find_sync(limit=MAX_PAGE, **filter)
        yield from page.jobs
        while page.cursor is not None:
            page = self.find_sync(cursor=page.cursor, limit=MAX_PAGE, **filter)
            yield from page.jobs

    def cancel_sync(self, id: JobId, *, queue: str | None = None, reason: str = "cancelled by an operator") -> bool:
        """As `cancel`."""
        return self._connection.run(lambda: self.cancel(id, queue=queue, reason=reason))

    def requeue_sync(self, id: JobId, *, queue: str | None = None) -> bool:
        """As `requeue`."""
        return self._connection.run(lambda: self.requeue(id, queue=queue))

    def skip_sync(self, id: JobId, *, queue: str | None = None) -> bool:
        """As `skip`."""
        return self._connection.run(lambda: self.skip(id, queue=queue))

    def pause_sync(self, queue: str, *, task: str | None = None, key: str | None = None) -> None:
        """As `pause`."""
        self._connection.run(lambda: self.pause(queue, task=task, key=key))

    def resume_sync(self, queue: str, *, task: str | None = None, key: str | None = None) -> None:
        """As `resume`."""
        self._connection.run(lambda: self.resume(queue, task=task, key=key))

    def stats_sync(self, *, declared: bool = False) -> dict[str, QueueStats]:
        """As `stats`."""
        return self._connection.run(lambda: self.stats(declared=declared))

    def blocked_keys_sync(
        self,
        *,
        queue: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
        owner: str | None = None,
        declared: bool = False,
    ) -> KeyPage:
        """As `blocked_keys`."""
        return self._connection.run(
            lambda: self.blocked_keys(queue=queue, cursor=cursor, limit=limit, owner=owner, declared=declared)
        )
