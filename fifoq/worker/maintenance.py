"""Maintenance of a worker's queues: removes jobs that are kept no longer, reads limits, and reports unknown tasks."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence

from fifoq.errors import BackendError
from fifoq.queue import Gate
from fifoq.worker.claims import QueueFeed

log = logging.getLogger("fifoq.worker")

PURGE_EVERY = 60.0
"""Seconds between two purges."""
PURGE_BATCH = 500
"""Jobs that one step of a purge removes."""
PURGE_PAUSE = 0.01
"""Seconds between two steps of a purge."""
LOOK_EVERY = 10.0
"""Seconds between two looks at the limits in force, and at jobs of unknown tasks."""
REPEAT_AFTER = 600.0
"""Seconds until the same unknown task is reported again."""


class Maintenance:
    """Purges the queues of one worker, which `feeds` returns, and reports their jobs that it cannot run."""

    def __init__(self, feeds: Callable[[], Sequence[QueueFeed]]) -> None:
        self._feeds = feeds
        self._reported: dict[tuple[str, str], float] = {}

    async def serve(self) -> None:
        """Maintain the queues until cancelled."""
        next_purge = time.monotonic() + random.uniform(0.0, PURGE_EVERY)
        while True:
            for feed in tuple(self._feeds()):
                await self._maintain(feed, purge=time.monotonic() >= next_purge)
            if time.monotonic() >= next_purge:
                next_purge = time.monotonic() + PURGE_EVERY
            await asyncio.sleep(LOOK_EVERY)

    async def _maintain(self, feed: QueueFeed, *, purge: bool) -> None:
        try:
            await self.look(feed)
            if purge:
                await self.purge(feed)
        except BackendError as error:
            log.debug("No maintenance of queue %r now: %s", feed.name, error)
        except Exception:
            log.exception("The maintenance of queue %r failed.", feed.name)

    async def purge(self, feed: QueueFeed) -> None:
        """Remove all jobs that are kept no longer, in small steps, so that other calls come in between."""
        full = True
        while full:
            full = await feed.queue.purge(PURGE_BATCH) >= PURGE_BATCH
            await asyncio.sleep(PURGE_PAUSE)

    async def look(self, feed: QueueFeed) -> None:
        """Read the limits that are in force, and warn of jobs whose tasks are not registered here."""
        gates = (await feed.queue.stats()).gates
        feed.update_limits(gates)
        for gate in gates:
            if gate.task is not None and gate.live > 0 and gate.task not in feed.plans:
                self._report(feed.name, gate.task, gate)

    def _report(self, queue: str, task: str, gate: Gate) -> None:
        now = time.monotonic()
        if now - self._reported.get((queue, task), -REPEAT_AFTER) < REPEAT_AFTER:
            return
        self._reported[queue, task] = now
        log.warning(
            "%d jobs in queue %r are of task %r, which this worker does not have: it leaves them alone. If no other "
            "worker has it, they wait for ever: register the task, start a worker that has it, or cancel them.",
            gate.live,
            queue,
            task,
        )
