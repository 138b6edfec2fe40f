"""
One queue's puts of one Fifoq: they enter in call order, one put in flight at a time, the next ones collected meanwhile.

It knows no tasks: batches go in, receipts come out.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from fifoq.calls import Caller
from fifoq.errors import BackendBusy, BackendUnavailable, IdConflict, OutcomeUnknown, QueueFull
from fifoq.queue import Conflict, Full, PutReply, Queue, Receipt, Setting
from fifoq.record import JobSpec

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two looks for room: doubled from the first to the longest."""
RETRY_AFTER = 1.0
"""Seconds after which to try again, as a suggestion: room comes when jobs end, and nobody knows when that is."""


class PendingBatch:
    """One batch on its way into the queue, and who waits for it."""

    __slots__ = ("_keys", "batch", "deadline", "entered", "full", "receipts")

    def __init__(self, batch: Sequence[JobSpec], wait: float) -> None:
        self.batch = batch
        self._keys: frozenset[str] | None = None
        self.receipts: asyncio.Future[tuple[Receipt, ...]] = asyncio.get_running_loop().create_future()
        self.entered = time.monotonic()
        self.deadline = self.entered + wait if wait else None
        """Until when it waits for room; None: it does not."""
        self.full: Full | None = None
        """The newest answer, if that was that there is no room."""

    @property
    def keys(self) -> frozenset[str]:
        """The keys of its jobs: asked for only where somebody waits for room, and nearly always nobody does."""
        if self._keys is None:
            self._keys = frozenset(spec.key for spec in self.batch if spec.key is not None)
        return self._keys

    @property
    def waited(self) -> float:
        """For how many seconds it has waited for room; 0.0 if it does not want to."""
        return 0.0 if self.deadline is None else time.monotonic() - self.entered

    def fail(self, error: BaseException) -> None:
        """Tell the one who waits, unless he is gone."""
        if not self.receipts.done():
            self.receipts.set_exception(error)


class CapacityWait:
    """
    Batches in call order: those refused for want of room that may wait, and behind them those that share a key.

    `retry` takes the batches that may be tried now, in order. What comes of them is told by `leave` and `stay`.
    """

    def __init__(self, queue: str, retry: Callable[[Sequence[PendingBatch]], None]) -> None:
        self._queue = queue
        self._retry = retry
        self.entries: list[PendingBatch] = []
        """All that are here. Only to be looked at: it is asked for each job that is enqueued."""
        self._tried: set[PendingBatch] = set()
        """Handed to `retry`, and no answer yet."""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def holds_back(self, entry: PendingBatch) -> bool:
        """Whether `entry` shares a key with one that is here and not itself."""
        if not self.entries:
            return False
        keys = entry.keys
        return any(not keys.isdisjoint(other.keys) for other in self.entries if other is not entry)

    def add(self, entry: PendingBatch) -> None:
        """Let `entry` wait here, behind all that are here."""
        self.entries.append(entry)
        # Who gives up waiting no longer holds anybody back.
        entry.receipts.add_done_callback(lambda _: self._changed.set())
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look(), name="fifoq: waits for room")

    def stay(self, entry: PendingBatch) -> None:
        """There is still no room for it."""
        self._tried.discard(entry)
        if entry not in self.entries:
            self.add(entry)

    def leave(self, entry: PendingBatch) -> None:
        """It has its answer."""
        if not self.entries:
            return
        self._tried.discard(entry)
        if entry in self.entries:
            self.entries.remove(entry)
            self._changed.set()

    def close(self) -> None:
        """Refuse all that are here."""
        for entry in self.entries:
            self._refuse(entry)
        self.entries.clear()
        if self._task is not None:
            self._task.cancel()

    async def _look(self) -> None:
        pause = FIRST_PAUSE
        try:
            while self.entries:
                changed = await self._pause(pause)
                pause = FIRST_PAUSE if changed else min(2 * pause, LONGEST_PAUSE)
                self._drop_those_who_are_done()
                due = [entry for entry in self._first_of_their_keys() if not changed or entry.full is None]
                self._tried.update(due)
                if due:
                    self._retry(due)
        finally:
            self._task = None

    async def _pause(self, pause: float) -> bool:
        """Wait for a change, for `pause` seconds or the next deadline; return whether it was a change."""
        deadlines = [entry.deadline - time.monotonic() for entry in self.entries if entry.deadline is not None]
        try:
            async with asyncio.timeout(max(0.0, min([pause, *deadlines]))):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def _drop_those_who_are_done(self) -> None:
        now = time.monotonic()
        for entry in self.entries:
            if entry.deadline is not None and entry.deadline <= now and entry not in self._tried:
                self._refuse(entry)
        self.entries = [entry for entry in self.entries if entry in self._tried or not entry.receipts.done()]

    def _first_of_their_keys(self) -> Iterator[PendingBatch]:
        taken: set[str] = set()
        for entry in self.entries:
            if entry not in self._tried and taken.isdisjoint(entry.keys):
                yield entry
            taken |= entry.keys

    def _refuse(self, entry: PendingBatch) -> None:
        full = entry.full or next((other.full for other in self.entries if other.full is not None), None)
        entry.fail(queue_full(self._queue, full, waited=entry.waited))


def queue_full(queue: str, full: Full | None, *, waited: float = 0.0) -> QueueFull:
    """The error for a batch that found no room."""
    patience = f" It waited {waited:.3g} s for room." if waited else ""
    if full is None:
        return QueueFull(f"Queue {queue!r} is full.{patience} Nothing was enqueued.", retry_after=RETRY_AFTER)
    what = f"Queue {queue!r}" if full.task is None else f"Task {full.task!r} in queue {queue!r}"
    if full.asked > full.capacity:
        return QueueFull(
            f"{what} has a capacity of {full.capacity:,}, and {full.asked:,} jobs were to enter at once: they never "
            "fit. Nothing was enqueued. Send smaller batches, or raise the capacity.",
            retry_after=None,
        )
    return QueueFull(
        f"{what} is full: {full.live:,} of {full.capacity:,} jobs, and {full.asked:,} more were to enter.{patience} "
        f"Nothing was enqueued. Try again later, or wait for room with options(enqueue_timeout=…).",
        retry_after=RETRY_AFTER,
    )


MAX_JOBS = 1_000
"""Jobs in one put, unless one batch alone has more."""
MAX_BYTES = 2**20
"""Bytes of payload in one put, unless one batch alone has more."""


class Coalescer:
    """
    Puts batches of one queue in call order.

    An idle one sends at once, in the caller's own asyncio task: with a backend that does not suspend, neither does
    `put`. Only where many were put together just now, it waits for the others of the turn. While a put is in flight,
    what comes is collected, and goes out together when the reply is there, each batch still on its own. A put whose
    reply was lost, or whose caller was cancelled, is repeated before anything later.
    """

    def __init__(self, queue: Queue, patience: float) -> None:
        self._queue = queue
        self._patience = patience
        self._caller = Caller()
        self._busy = False
        """A put is in flight, or `_task` is at work."""
        self._crowded = False
        """Others came while the last put was in flight: more will, so the next one waits for those of its turn."""
        self._collected: deque[PendingBatch] = deque()
        self._room = CapacityWait(queue.name, self._collect)
        self._unsaid: list[Setting] = []
        self._task: asyncio.Task[None] | None = None
        self._rested: asyncio.Event | None = None
        """Somebody waits until nothing is in flight."""

    async def put(self, batch: Sequence[JobSpec], wait: float = 0.0) -> tuple[Receipt, ...]:
        """Put a batch; see `fifoq.task.handle.Producer`."""
        if self._busy or wait or self._crowded or self._unsaid or self._room.entries:
            return await self._join(batch, wait)
        self._busy = True
        caller = self._caller
        try:
            (reply,) = await self._queue.put(caller.begin(), (batch,))
            caller.doubtful = False
        except (BackendUnavailable, BackendBusy, OutcomeUnknown) as error:
            caller.doubtful = isinstance(error, OutcomeUnknown)
            return await self._persist(batch)
        except asyncio.CancelledError:
            # It may have been sent: until its reply is known, nothing may overtake it.
            self._work(PendingBatch(batch, 0.0))
            raise
        except BaseException:
            self._go_on()
            raise
        if self._collected or self._rested is not None:
            self._crowded = len(self._collected) > 1
            self._go_on()
        else:
            self._busy = False
        return reply if type(reply) is tuple else self._refused(reply)

    def expect(self, id: str) -> None:
        """A job with this id is about to be put, and to be waited for."""
        self._queue.expect(id)

    def declare(self, setting: Setting) -> None:
        """Write `setting` before the next put."""
        self._unsaid.append(setting)

    async def close(self) -> None:
        """Return once nothing is in flight. What waits for room is refused."""
        self._room.close()
        while self._busy:
            self._rested = asyncio.Event()
            await self._rested.wait()

    async def _join(self, batch: Sequence[JobSpec], wait: float) -> tuple[Receipt, ...]:
        entry = PendingBatch(batch, wait)
        if self._room.holds_back(entry):
            self._room.add(entry)
        else:
            self._collect([entry])
        return await entry.receipts

    async def _persist(self, batch: Sequence[JobSpec]) -> tuple[Receipt, ...]:
        entry = PendingBatch(batch, 0.0)
        self._work(entry)
        return await entry.receipts

    def _collect(self, entries: Sequence[PendingBatch]) -> None:
        self._collected.extend(entries)
        if not self._busy:
            self._work()

    def _go_on(self) -> None:
        """A put came back: send what was collected meanwhile, or be idle."""
        if self._collected:
            self._work()
        else:
            self._rest()

    def _rest(self) -> None:
        self._busy = False
        if self._rested is not None:
            self._rested.set()

    def _work(self, unanswered: PendingBatch | None = None) -> None:
        self._busy = True
        self._task = asyncio.get_running_loop().create_task(self._send_all(unanswered), name="fifoq: puts jobs")

    async def _send_all(self, unanswered: PendingBatch | None) -> None:
        """Have the call in doubt answered, if there is one; then send all that is collected, and be idle."""
        try:
            group = [unanswered] if unanswered else self._next_group()
            while group:
                await self._send(group, repeat=group[0] is unanswered)
                self._crowded = len(group) > 1
                group = self._next_group()
        finally:
            self._task = None
            self._rest()
            for entry in self._collected:  # empty, unless this task was cancelled: the loop is ending
                entry.receipts.cancel()
            self._collected.clear()

    async def _send(self, group: list[PendingBatch], *, repeat: bool) -> None:
        batches = [entry.batch for entry in group]
        patience = max(0.0, group[-1].entered + self._patience - time.monotonic())
        send = self._caller.persist if repeat else self._caller.send
        try:
            await self._say()
            replies = await send(lambda call: self._queue.put(call, batches), patience)
        except asyncio.CancelledError:
            for entry in group:
                entry.receipts.cancel()
            raise
        except Exception as error:
            for entry in group:
                self._room.leave(entry)
                entry.fail(error)
            return
        for entry, reply in zip(group, replies, strict=True):
            self._answer(entry, reply)

    async def _say(self) -> None:
        if self._unsaid:
            settings = tuple(self._unsaid)
            await self._queue.configure(settings)
            del self._unsaid[: len(settings)]

    def _answer(self, entry: PendingBatch, reply: PutReply) -> None:
        if isinstance(reply, Full) and self._may_wait(entry, reply):
            entry.full = reply
            self._room.stay(entry)
            self._hold_back()
            return
        self._room.leave(entry)
        if entry.receipts.done():
            return
        if type(reply) is tuple:
            entry.receipts.set_result(reply)
        else:
            entry.receipts.set_exception(self._error(reply, entry.waited))

    def _may_wait(self, entry: PendingBatch, full: Full) -> bool:
        return (
            entry.deadline is not None
            and entry.deadline > time.monotonic()
            and full.asked <= full.capacity
            and not entry.receipts.done()
        )

    def _hold_back(self) -> None:
        """Take from what is collected all that must not overtake those who wait for room."""
        collected, self._collected = self._collected, deque()
        for entry in collected:
            if self._room.holds_back(entry):
                self._room.stay(entry)
            else:
                self._collected.append(entry)

    def _next_group(self) -> list[PendingBatch]:
        """
        Take what goes out together, in order, within the bounds of one put.

        A batch that may have to wait for room ends the group for those of its keys: they must not enter before it.
        """
        group: list[PendingBatch] = []
        jobs = size = 0
        waiting: set[str] = set()
        while self._collected:
            entry = self._collected[0]
            jobs += len(entry.batch)
            for spec in entry.batch:
                size += len(spec.payload)
            if group and (jobs > MAX_JOBS or size > MAX_BYTES or (waiting and not waiting.isdisjoint(entry.keys))):
                break
            self._collected.popleft()
            if entry.receipts.done():  # its caller gave up before it was sent
                self._room.leave(entry)
                continue
            group.append(entry)
            if entry.deadline is not None:
                waiting |= entry.keys
        return group

    def _refused(self, reply: PutReply) -> tuple[Receipt, ...]:
        raise self._error(reply)

    def _error(self, reply: PutReply, waited: float = 0.0) -> Exception:
        match reply:
            case Full():
                return queue_full(self._queue.name, reply, waited=waited)
            case Conflict(id):
                return IdConflict(
                    f"Job id {id!r} is taken in queue {self._queue.name!r} by a job with another task or other "
                    "arguments. Nothing was enqueued. Use a new id for new work.",
                    id=id,
                )
            case _:
                return AssertionError(f"no refusal: {reply!r}")
