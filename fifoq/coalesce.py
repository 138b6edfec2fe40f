"""
One queue's puts of one Fifoq: they enter in call order, one put in flight at a time, the next ones collected meanwhile.

It knows no tasks: batches go in, receipts come out.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from fifoq.caller import Caller
from fifoq.errors import BackendBusy, BackendUnavailable, IdConflict, OutcomeUnknown
from fifoq.queue import Conflict, Full, PutReply, Queue, Receipt, Setting
from fifoq.record import JobSpec
from fifoq.room import Entry, Room, queue_full

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
        self._collected: deque[Entry] = deque()
        self._room = Room(queue.name, self._collect)
        self._unsaid: list[Setting] = []
        self._task: asyncio.Task[None] | None = None
        self._rested: asyncio.Event | None = None
        """Somebody waits until nothing is in flight."""

    async def put(self, batch: Sequence[JobSpec], wait: float = 0.0) -> tuple[Receipt, ...]:
        """Put a batch; see `fifoq.connection.Intake`."""
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
            self._work(Entry(batch, 0.0))
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
        entry = Entry(batch, wait)
        if self._room.holds_back(entry):
            self._room.add(entry)
        else:
            self._collect([entry])
        return await entry.receipts

    async def _persist(self, batch: Sequence[JobSpec]) -> tuple[Receipt, ...]:
        entry = Entry(batch, 0.0)
        self._work(entry)
        return await entry.receipts

    def _collect(self, entries: Sequence[Entry]) -> None:
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

    def _work(self, unanswered: Entry | None = None) -> None:
        self._busy = True
        self._task = asyncio.get_running_loop().create_task(self._send_all(unanswered), name="fifoq: puts jobs")

    async def _send_all(self, unanswered: Entry | None) -> None:
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

    async def _send(self, group: list[Entry], *, repeat: bool) -> None:
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

    def _answer(self, entry: Entry, reply: PutReply) -> None:
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

    def _may_wait(self, entry: Entry, full: Full) -> bool:
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

    def _next_group(self) -> list[Entry]:
        """
        Take what goes out together, in order, within the bounds of one put.

        A batch that may have to wait for room ends the group for those of its keys: they must not enter before it.
        """
        group: list[Entry] = []
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
