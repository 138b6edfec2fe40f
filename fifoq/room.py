"""The batches that wait until a full queue has room again, and those that must not overtake them."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from fifoq.errors import QueueFull
from fifoq.queue import Full, Receipt
from fifoq.record import JobSpec

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two looks for room: doubled from the first to the longest."""
RETRY_AFTER = 1.0
"""Seconds after which to try again, as a suggestion: room comes when jobs end, and nobody knows when that is."""


class Entry:
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


class Room:
    """
    Batches in call order: those refused for want of room that may wait, and behind them those that share a key.

    `retry` takes the batches that may be tried now, in order. What comes of them is told by `leave` and `stay`.
    """

    def __init__(self, queue: str, retry: Callable[[Sequence[Entry]], None]) -> None:
        self._queue = queue
        self._retry = retry
        self.entries: list[Entry] = []
        """All that are here. Only to be looked at: it is asked for each job that is enqueued."""
        self._tried: set[Entry] = set()
        """Handed to `retry`, and no answer yet."""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def holds_back(self, entry: Entry) -> bool:
        """Whether `entry` shares a key with one that is here and not itself."""
        if not self.entries:
            return False
        keys = entry.keys
        return any(not keys.isdisjoint(other.keys) for other in self.entries if other is not entry)

    def add(self, entry: Entry) -> None:
        """Let `entry` wait here, behind all that are here."""
        self.entries.append(entry)
        # Who gives up waiting no longer holds anybody back.
        entry.receipts.add_done_callback(lambda _: self._changed.set())
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look(), name="fifoq: waits for room")

    def stay(self, entry: Entry) -> None:
        """There is still no room for it."""
        self._tried.discard(entry)
        if entry not in self.entries:
            self.add(entry)

    def leave(self, entry: Entry) -> None:
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

    def _first_of_their_keys(self) -> Iterator[Entry]:
        taken: set[str] = set()
        for entry in self.entries:
            if entry not in self._tried and taken.isdisjoint(entry.keys):
                yield entry
            taken |= entry.keys

    def _refuse(self, entry: Entry) -> None:
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
