"""Writes the outcomes of one queue's jobs, in batches: those that come during one write go into the next."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from fifoq.calls import Caller
from fifoq.queue import Queue
from fifoq.record import Extension, Outcome, Release, Retry, Settlement, State, fast_constructor
from fifoq.worker.log import fields, job_settled, log, routine
from fifoq.worker.outage import NOT_NOW, Contact, Outage
from fifoq.worker.outcomes import unsettleable
from fifoq.worker.run import Run, name_of

_settlement = fast_constructor(Settlement)

MAX_BATCH = 1_000
"""Settlements in one write."""

Ended = tuple[Run, Outcome]
States = tuple[State | None, ...]


class Settler:
    """
    Settles the jobs of one queue.

    `held` are the runs whose leases are extended: a run is taken out when its outcome is written. `put_back` is called
    for each job that goes back to its place, with the microseconds until it may run again, and with 0 after an outage.

    `before_write` is called with each batch in the turn of the loop in which it is written, just before: a claim that
    it wakes then leaves together with the batch.

    A write whose reply was lost is repeated as it was, for as long as it takes. Meanwhile the leases are extended. An
    outcome that the store can never take fails its job, and holds up no other.
    """

    def __init__(
        self,
        queue: Queue,
        lease: int,
        held: dict[str, Run],
        contact: Contact,
        put_back: Callable[[int], None],
        before_write: Callable[["Sequence[Ended]"], Awaitable[None]],
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._held = held
        self._put_back = put_back
        self._before_write = before_write
        self._caller = Caller()
        self.outage = Outage(contact, f"outcomes of queue {queue.name!r} wait to be written")
        self._due: list[Ended] = []
        self._sleeping: asyncio.Future[None] | None = None
        self.unwritten = 0
        """Outcomes whose writing is not confirmed."""

    def add(self, run: Run, outcome: Outcome) -> None:
        """Have an outcome written, soon."""
        self._due.append((run, outcome))
        self.unwritten += 1
        sleeping = self._sleeping
        if sleeping is not None:
            self._sleeping = None
            if not sleeping.done():
                sleeping.set_result(None)

    async def serve(self) -> None:
        """Write outcomes until cancelled."""
        while True:
            if not self._due:
                self._sleeping = asyncio.get_running_loop().create_future()
                await self._sleeping
            batch, self._due = self._due, []
            if len(batch) > MAX_BATCH:
                batch, self._due = batch[:MAX_BATCH], batch[MAX_BATCH:]
            await self._write(batch)

    async def _write(self, batch: Sequence[Ended]) -> None:
        late = [run for run, _ in batch if run.progress is not run.written]
        if late:
            await self._write_progress(late)
        await self._before_write(batch)
        try:
            states = await self._settle(batch)
        except Exception as error:
            log.debug("%d outcomes are written one by one: %s", len(batch), name_of(error))
            for each in batch:
                await self._write_alone(*each)
        else:
            self._written(batch, states)

    async def _write_alone(self, run: Run, outcome: Outcome) -> None:
        """Write one outcome, or that the job failed because the store cannot take it."""
        ended = (run, outcome)
        try:
            states = await self._settle([ended])
        except Exception as error:
            log.warning(
                "The store cannot take the outcome of job %s of task %r. The job fails.",
                run.lease.spec.id,
                run.plan.name,
                exc_info=error,
                extra=fields(run),
            )
            ended = (run, unsettleable(run, outcome, error))
            run.error = None
            states = await self._insist([ended])
        self._written([ended], states)

    async def _settle(self, batch: Sequence[Ended]) -> States:
        """Write outcomes once the store takes them. Raises an error that would come again each time."""
        settlements = [_settlement((run.lease.spec.id, run.lease.token, outcome)) for run, outcome in batch]
        while True:
            try:
                return await self._caller.attempt(self._queue.settle, settlements)
            except NOT_NOW as error:
                await asyncio.sleep(self.outage.failed(error))
            except Exception:
                self._caller.doubtful = False  # the next call is not a repeat of this one
                raise

    async def _insist(self, batch: Sequence[Ended]) -> States:
        """Write outcomes that any store can take, after whichever error."""
        while True:
            try:
                return await self._settle(batch)
            except Exception as error:
                await asyncio.sleep(self.outage.failed(error))

    def _written(self, batch: Sequence[Ended], states: States) -> None:
        if self.outage.ongoing:
            self.outage.over()
            self._put_back(0)
        verbose = routine.isEnabledFor(logging.INFO)
        for (run, outcome), state in zip(batch, states, strict=True):
            self._held.pop(run.lease.token, None)
            if state is State.SUCCEEDED and not verbose:
                continue
            if state is State.WAITING and isinstance(outcome, Retry | Release):
                self._put_back(outcome.after)
            job_settled(run, outcome, state)
        self.unwritten -= len(batch)

    async def _write_progress(self, late: Sequence[Run]) -> None:
        """Write the last progress of jobs that ended before the heartbeat wrote it."""
        for run in late:
            run.written = run.progress
        try:
            await self._queue.extend(
                [Extension(run.lease.spec.id, run.lease.token, self._lease, run.progress) for run in late]
            )
        except Exception as error:
            log.debug("The last progress of %d jobs is not written: %s", len(late), error)
