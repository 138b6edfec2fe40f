"""
The coalescer of one queue: puts of one Fifoq enter in call order, with one put in flight at a time.

Calls made during a put are collected and sent together by the next one. The coalescer takes batches of JobSpecs and
returns receipts; it depends on no task.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from fifoq.calls import Caller
from fifoq.errors import BackendBusy, BackendUnavailable, FifoqError, IdConflict, OutcomeUnknown, QueueFull
from fifoq.queue import Call, Conflict, Full, PutReply, Queue, Receipt, Setting
from fifoq.record import JobSpec

log = logging.getLogger("fifoq")

MAX_JOBS = 1_000
"""Jobs in one put, unless one batch alone has more."""
MAX_BYTES = 2**20
"""Bytes of payload in one put, unless one batch alone has more."""

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two tries of batches that wait for room: doubled from the first to the longest."""
RETRY_AFTER = 1.0
"""Seconds after which to try again, as a suggestion: room comes when jobs end, and their ends cannot be foreseen."""


class PendingBatch:
    """One batch on its way into the queue, and the future of its receipts."""

    __slots__ = ("_keys", "batch", "called_at", "deadline", "full", "receipts", "until")

    def __init__(self, batch: Sequence[JobSpec], wait: float, patience: float, called_at: float) -> None:
        self.batch = batch
        self._keys: frozenset[str] | None = None
        self.receipts: asyncio.Future[tuple[Receipt, ...]] = asyncio.get_running_loop().create_future()
        self.called_at = called_at
        self.deadline = called_at + wait if wait else None
        """Until when it may wait for room; None: not at all."""
        self.until = called_at + max(wait, patience)
        """Until when it may wait for the store. It counts from the call, whatever else is in line."""
        self.full: Full | None = None
        """The newest reply of the backend, if that was a refusal for want of room."""

    @property
    def keys(self) -> frozenset[str]:
        """The keys of its jobs, computed on first use: needed only while a batch waits for room, which is rare."""
        if self._keys is None:
            self._keys = frozenset(spec.key for spec in self.batch if spec.key is not None)
        return self._keys

    @property
    def waited(self) -> float:
        """For how many seconds it has waited for room; 0.0 if it may not wait."""
        return 0.0 if self.deadline is None else time.monotonic() - self.called_at

    def fail(self, error: BaseException) -> None:
        """Raise `error` in the caller, unless the caller was cancelled."""
        if not self.receipts.done():
            self.receipts.set_exception(error)


# ---- waiting for room ----


class CapacityWait:
    """
    Batches that wait for room, in call order, and behind them the batches held back because they share a key.

    `retry` takes the batches to try again now, in order. Each of them comes back by `keep` or `remove`.
    """

    def __init__(self, queue: str, retry: Callable[[Sequence[PendingBatch]], None]) -> None:
        self._queue = queue
        self._retry = retry
        self.batches: list[PendingBatch] = []
        """All that wait. Public for reading only: it is read for each job that is enqueued."""
        self._tried: set[PendingBatch] = set()
        """Handed to `retry`, and not answered yet."""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def holds_back(self, pending: PendingBatch) -> bool:
        """Whether `pending` shares a key with another batch that waits here."""
        if not self.batches:
            return False
        keys = pending.keys
        return any(not keys.isdisjoint(other.keys) for other in self.batches if other is not pending)

    def add(self, pending: PendingBatch) -> None:
        """Let `pending` wait, behind all that wait already."""
        self.batches.append(pending)
        # A batch whose caller was cancelled no longer holds back the batches behind it.
        pending.receipts.add_done_callback(lambda _: self._changed.set())
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._retry_all(), name="fifoq: waits for room")

    def keep(self, pending: PendingBatch) -> None:
        """Let `pending` wait, or wait on: there is no room for it, or for a batch before it."""
        self._tried.discard(pending)
        if pending not in self.batches:
            self.add(pending)

    def remove(self, pending: PendingBatch) -> None:
        """Let `pending` wait no longer: it has its receipts or an error."""
        if not self.batches:
            return
        self._tried.discard(pending)
        if pending in self.batches:
            self.batches.remove(pending)
            self._changed.set()

    def close(self) -> None:
        """Refuse all that wait."""
        for pending in self.batches:
            self._refuse(pending)
        self.batches.clear()
        if self._task is not None:
            self._task.cancel()

    async def _retry_all(self) -> None:
        pause = FIRST_PAUSE
        try:
            while self.batches:
                changed = await self._pause(pause)
                pause = FIRST_PAUSE if changed else min(2 * pause, LONGEST_PAUSE)
                self._drop_finished()
                due = [each for each in self._first_of_their_keys() if not changed or each.full is None]
                self._tried.update(due)
                if due:
                    self._retry(due)
        finally:
            self._task = None

    async def _pause(self, pause: float) -> bool:
        """Wait for a change, for `pause` seconds or until the next deadline; return whether it was a change."""
        deadlines = [each.deadline - time.monotonic() for each in self.batches if each.deadline is not None]
        try:
            async with asyncio.timeout(max(0.0, min([pause, *deadlines]))):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def _drop_finished(self) -> None:
        """Refuse the batches past their deadline, and drop all that have ended."""
        now = time.monotonic()
        for pending in self.batches:
            if pending.deadline is not None and pending.deadline <= now and pending not in self._tried:
                self._refuse(pending)
        self.batches = [each for each in self.batches if each in self._tried or not each.receipts.done()]

    def _first_of_their_keys(self) -> Iterator[PendingBatch]:
        taken: set[str] = set()
        for pending in self.batches:
            if pending not in self._tried and taken.isdisjoint(pending.keys):
                yield pending
            taken |= pending.keys

    def _refuse(self, pending: PendingBatch) -> None:
        full = pending.full or next((other.full for other in self.batches if other.full is not None), None)
        pending.fail(queue_full(self._queue, full, waited=pending.waited))


def queue_full(queue: str, full: Full | None, *, waited: float = 0.0) -> QueueFull:
    """Return the error for a batch that found no room."""
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


# ---- putting ----


class Coalescer:
    """
    Puts batches of one queue in call order.

    When idle, it sends a put at once, in the caller's own asyncio task: with a backend that does not suspend, `put`
    does not suspend either. Only if several calls were sent together just now, it first waits for the other calls of
    this turn of the loop. Calls made while a put is in flight are collected, and sent together once its reply is
    there, each batch still on its own. A put whose reply was lost, or whose caller was cancelled, is repeated before
    anything later is sent.
    """

    def __init__(self, queue: Queue, patience: float) -> None:
        self._queue = queue
        self._patience = patience
        self._caller = Caller()
        self._closed = False
        self._busy = False
        """A put is in flight, or `_task` runs."""
        self._crowded = False
        """Other calls came during the last put. More will, so the next call waits for those of its turn of the loop."""
        self._collected: deque[PendingBatch] = deque()
        self._capacity_wait = CapacityWait(queue.name, self._collect)
        self._unwritten: list[Setting] = []
        """Settings declared since the last put."""
        self._settings_alarm: asyncio.TimerHandle | None = None
        self._settings_late = False
        """It is logged that they are not in force yet."""
        self._failed_at = 0.0
        """When a put was given up (`time.monotonic()`)."""
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Event | None = None
        """Set when nothing is in flight; None unless `close` waits for that."""

    async def put(self, batch: Sequence[JobSpec], wait: float = 0.0) -> tuple[Receipt, ...]:
        """Put a batch; see `fifoq.task.handle.Producer`."""
        if self._busy or wait or self._crowded or self._unwritten or self._capacity_wait.batches:
            return await self._join(batch, wait)
        self._busy = True
        caller, called_at = self._caller, time.monotonic()
        try:
            (reply,) = await self._queue.put(caller.begin(), (batch,))
            caller.doubtful = False
        except (BackendUnavailable, BackendBusy, OutcomeUnknown) as error:
            caller.doubtful = isinstance(error, OutcomeUnknown)
            pending = PendingBatch(batch, 0.0, self._patience, called_at)
            if self._patience and pending.until < time.monotonic():
                self._failed_at = time.monotonic()
                self._send_collected()
                raise
            return await self._repeat(pending)
        except asyncio.CancelledError:
            # It may have been sent: until its reply is known, nothing may overtake it.
            self._start_sending(PendingBatch(batch, 0.0, self._patience, called_at))
            raise
        except BaseException:
            self._send_collected()
            raise
        if self._collected or self._idle is not None:
            self._crowded = len(self._collected) > 1
            self._send_collected()
        else:
            self._busy = False
        return reply if type(reply) is tuple else self._refused(reply)

    def expect(self, id: str) -> None:
        """Announce that a job with this id is about to be put, and to be waited for."""
        self._queue.expect(id)

    def declare(self, setting: Setting) -> None:
        """Write `setting` before the next put, and with `send_settings`."""
        self._unwritten.append(setting)

    async def close(self) -> None:
        """Refuse the batches that wait for room, and return once nothing is in flight."""
        self._closed = True
        if self._settings_alarm is not None:
            self._settings_alarm.cancel()
        self._capacity_wait.close()
        while self._busy:
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def _join(self, batch: Sequence[JobSpec], wait: float) -> tuple[Receipt, ...]:
        """Collect a batch, or let it wait behind a batch of the same key that waits for room."""
        pending = PendingBatch(batch, wait, self._patience, time.monotonic())
        if self._capacity_wait.holds_back(pending):
            self._capacity_wait.add(pending)
        else:
            self._collect([pending])
        return await pending.receipts

    async def _repeat(self, pending: PendingBatch) -> tuple[Receipt, ...]:
        self._start_sending(pending)
        return await pending.receipts

    def _collect(self, batches: Sequence[PendingBatch]) -> None:
        self._collected.extend(batches)
        if not self._busy:
            self._start_sending()

    def _send_collected(self) -> None:
        """After a put: send the batches collected meanwhile, or become idle."""
        if self._collected:
            self._start_sending()
        else:
            self._become_idle()

    def _become_idle(self) -> None:
        self._busy = False
        if self._idle is not None:
            self._idle.set()

    # ---- sending in a task of its own ----

    def _start_sending(self, unanswered: PendingBatch | None = None) -> None:
        self._busy = True
        self._task = asyncio.get_running_loop().create_task(self._send_all(unanswered), name="fifoq: puts jobs")

    async def _send_all(self, unanswered: PendingBatch | None) -> None:
        """Repeat the unanswered call, if any; then send all that is collected, or else settings; and become idle."""
        try:
            group = [unanswered] if unanswered else self._next_group()
            if not group:
                await self._try_settings()
                group = self._next_group()
            while group:
                await self._send(group, repeat=group[0] is unanswered)
                self._crowded = len(group) > 1
                group = self._next_group()
        finally:
            self._task = None
            self._become_idle()
            for pending in self._collected:  # empty, unless this task was cancelled: the loop is ending
                pending.receipts.cancel()
            self._collected.clear()

    async def _send(self, group: list[PendingBatch], *, repeat: bool) -> None:
        if not repeat:
            self._caller.doubtful = False
        try:
            replies = await self._caller.repeat(
                lambda call: self._try(call, group), lambda error, at: self._expire(group, error, at)
            )
        except asyncio.CancelledError:
            for pending in group:
                pending.receipts.cancel()
            raise
        except Exception as error:
            self._failed_at = time.monotonic()
            for pending in group:
                self._capacity_wait.remove(pending)
                pending.fail(error)
            return
        for pending, reply in zip(group, replies, strict=True):
            self._handle_reply(pending, reply)

    def send_settings(self) -> None:
        """Write the settings that no put has written, as soon as possible: workers go by them, here and elsewhere."""
        if self._settings_alarm is not None:
            self._settings_alarm.cancel()
            self._settings_alarm = None
        if not self._unwritten or self._closed:
            return
        if self._busy:
            self._send_settings_in(FIRST_PAUSE)
        else:
            self._start_sending()

    def _send_settings_in(self, seconds: float) -> None:
        if self._settings_alarm is None and not self._closed:
            self._settings_alarm = asyncio.get_running_loop().call_later(seconds, self.send_settings)

    async def _try(self, call: Call, group: Sequence[PendingBatch]) -> tuple[PutReply, ...]:
        """Send a put. The backend's own timeout bounds it, so a call ends within its patience and one such timeout."""
        await self._write_settings()
        return await self._queue.put(call, [pending.batch for pending in group])

    def _expire(self, group: list[PendingBatch], error: Exception, next_try: float) -> bool:
        """After a put in vain: fail the calls whose time is over before the next try; return whether all are."""
        if all(pending.until < next_try for pending in group):
            return True
        late = [pending for pending in group if pending.until < next_try]
        for pending in late:
            self._capacity_wait.remove(pending)
            pending.fail(error)
        if late and not isinstance(error, OutcomeUnknown):
            # The next try is a new put, and without them: nothing of them took effect.
            group[:] = [pending for pending in group if pending.until >= next_try]
        return False

    def _is_late(self, pending: PendingBatch, now: float) -> bool:
        """Whether a call's time was over before its batch was sent, and its failure is no refusal of a first try."""
        return pending.until < now and (self._patience > 0 or pending.called_at <= self._failed_at)

    async def _write_settings(self) -> None:
        if self._unwritten:
            settings = tuple(self._unwritten)
            await self._queue.configure(settings)
            del self._unwritten[: len(settings)]
            self._settings_late = False

    async def _try_settings(self) -> None:
        try:
            await self._write_settings()
        except Exception as error:
            if not self._settings_late:
                self._settings_late = True
                log.warning(
                    "Settings that were declared late for queue %r are not in force yet. They are written again and "
                    "again until the store takes them. %s: %s",
                    self._queue.name,
                    type(error).__name__,
                    error,
                    exc_info=None if isinstance(error, FifoqError) else error,
                )
            self._send_settings_in(RETRY_AFTER)

    def _handle_reply(self, pending: PendingBatch, reply: PutReply) -> None:
        if isinstance(reply, Full) and self._may_wait(pending, reply):
            pending.full = reply
            self._capacity_wait.keep(pending)
            self._hold_back_collected()
            return
        self._capacity_wait.remove(pending)
        if pending.receipts.done():
            return
        if type(reply) is tuple:
            pending.receipts.set_result(reply)
        else:
            pending.receipts.set_exception(self._error(reply, pending.waited))

    def _may_wait(self, pending: PendingBatch, full: Full) -> bool:
        return (
            pending.deadline is not None
            and pending.deadline > time.monotonic()
            and full.asked <= full.capacity
            and not pending.receipts.done()
        )

    def _hold_back_collected(self) -> None:
        """Move the collected batches that must not overtake a batch of their key to those that wait for room."""
        collected, self._collected = self._collected, deque()
        for pending in collected:
            if self._capacity_wait.holds_back(pending):
                self._capacity_wait.keep(pending)
            else:
                self._collected.append(pending)

    def _next_group(self) -> list[PendingBatch]:
        """
        Take the batches to send together, in order, within the bounds of one put.

        A batch that may have to wait for room ends the group for those of its keys: they must not enter before it.
        """
        group: list[PendingBatch] = []
        jobs = size = 0
        waiting: set[str] = set()
        now = time.monotonic()
        while self._collected:
            pending = self._collected[0]
            if pending.until < now and not pending.receipts.done() and self._is_late(pending, now):
                self._collected.popleft()
                self._capacity_wait.remove(pending)
                pending.fail(self._too_late())
                continue
            jobs += len(pending.batch)
            for spec in pending.batch:
                size += len(spec.payload)
            if group and (jobs > MAX_JOBS or size > MAX_BYTES or (waiting and not waiting.isdisjoint(pending.keys))):
                break
            self._collected.popleft()
            if pending.receipts.done():  # its caller was cancelled before it was sent
                self._capacity_wait.remove(pending)
                continue
            group.append(pending)
            if pending.deadline is not None:
                waiting |= pending.keys
        return group

    # ---- refusals ----

    def _refused(self, reply: PutReply) -> tuple[Receipt, ...]:
        raise self._error(reply)

    def _too_late(self) -> BackendUnavailable:
        return BackendUnavailable(
            f"The store of queue {self._queue.name!r} did not take the calls before this one within "
            f"{self._patience:g} s (patience=), so it was not sent: nothing was enqueued. Try again later, or enqueue "
            "less at a time."
        )

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
