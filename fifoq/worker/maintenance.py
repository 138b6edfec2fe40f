"""What a worker does now and then for the store: removes what nobody keeps any more, and reports what nobody runs."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence

from fifoq.errors import BackendError
from fifoq.queue import Gate
from fifoq.worker.claims import QueueFeed

log = logging.getLogger("fifoq.worker")

PURGE_EVERY = 60.0
PURGE_BATCH = 500
PURGE_PAUSE = 0.01
LOOK_EVERY = 10.0
"""Seconds between two looks for tasks that are not known here."""
REPORT_EVERY = 600.0
"""Seconds until the same unknown task is reported again."""


class Maintenance:
    """The housekeeping of one worker."""

    def __init__(self, desks: Sequence[QueueFeed]) -> None:
        self._desks = desks
        self._reported: dict[tuple[str, str], float] = {}

    async def serve(self) -> None:
        """Look after the queues until cancelled."""
        next_purge = time.monotonic() + random.uniform(0.0, PURGE_EVERY)
        while True:
            for desk in self._desks:
                await self._tend(desk, purge=time.monotonic() >= next_purge)
            if time.monotonic() >= next_purge:
                next_purge = time.monotonic() + PURGE_EVERY
            await asyncio.sleep(LOOK_EVERY)

    async def _tend(self, desk: QueueFeed, *, purge: bool) -> None:
        try:
            await self.report_unknown(desk)
            if purge:
                await self.purge(desk)
        except BackendError as error:
            log.debug("No upkeep of queue %r now: %s", desk.name, error)
        except Exception:
            log.exception("The upkeep of queue %r failed.", desk.name)

    async def purge(self, desk: QueueFeed) -> None:
        """Remove all that is over, in small steps, with room for others between them."""
        full = True
        while full:
            full = await desk.queue.purge(PURGE_BATCH) >= PURGE_BATCH
            await asyncio.sleep(PURGE_PAUSE)

    async def report_unknown(self, desk: QueueFeed) -> None:
        """Warn of jobs of tasks that are not registered here."""
        stats = await desk.queue.stats()
        for gate in stats.gates:
            if gate.task is not None and gate.live > 0 and gate.task not in desk.plans:
                self._report(desk.name, gate.task, gate)

    def _report(self, queue: str, task: str, gate: Gate) -> None:
        now = time.monotonic()
        if now - self._reported.get((queue, task), -REPORT_EVERY) < REPORT_EVERY:
            return
        self._reported[queue, task] = now
        log.warning(
            "%d jobs in queue %r are of task %r, which this worker does not know: it leaves them alone. If no other "
            "worker knows it, they wait for ever: register the task, start a worker that has it, or cancel them.",
            gate.live,
            queue,
            task,
        )
