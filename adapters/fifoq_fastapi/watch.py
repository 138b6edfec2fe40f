"""Jobs that clients follow: one look per queue and tick, however many follow. It knows no HTTP."""

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager

from fifoq import Fifoq
from fifoq.errors import BackendError, FifoqError, JobNotFound
from fifoq.job import Job

log = logging.getLogger("fifoq.fastapi")

TICK = 0.5
"""Seconds between two looks at the jobs that are followed."""


class Followed:
    """One job that is followed: its newest look, and a way to wait for another."""

    def __init__(self, job: Job) -> None:
        self.followers = 0
        self.ending: asyncio.Task[None] | None = None
        """Waits for the job's end, so that it is told at once."""
        self._job: Job | None = job
        self._born = job.created_at
        self._changed = asyncio.Event()

    def show(self, job: Job | None) -> None:
        """Take a new look. A job that is gone stays so: another one under its id is not followed."""
        if job is not None and job.created_at != self._born:
            job = None
        if self._job is None or job == self._job:
            return
        self._job = job
        self._changed.set()
        self._changed = asyncio.Event()

    async def other_than(self, seen: Job | None) -> Job | None:
        """Return the job once it differs from what was `seen`; None once it is gone."""
        while self._job is not None and self._job == seen:
            await self._changed.wait()
        return self._job


class Watch:
    """
    Looks at the followed jobs of one Fifoq.

    Each queue with followed jobs has one asyncio task that asks for all of them at once. Only the newest look is kept:
    who reads slowly misses what lies between, and costs no memory.
    """

    def __init__(self, tasks: Fifoq) -> None:
        self._tasks = tasks
        self._followed: dict[str, dict[str, Followed]] = {}
        self._lookers: dict[str, asyncio.Task[None]] = {}

    @contextmanager
    def follow(self, job: Job) -> Generator[Followed]:
        """Follow a job for a block."""
        jobs = self._followed.setdefault(job.queue, {})
        followed = jobs.setdefault(job.id, Followed(job))
        followed.followers += 1
        if followed.ending is None:
            followed.ending = asyncio.create_task(self._end(job, followed), name="fifoq: awaits a followed job")
        if job.queue not in self._lookers:
            self._lookers[job.queue] = asyncio.create_task(self._look(job.queue), name="fifoq: looks at jobs")
        try:
            yield followed
        finally:
            followed.followers -= 1
            if not followed.followers:
                followed.ending.cancel()
                del jobs[job.id]
                self._leave(job.queue)

    def _leave(self, queue: str) -> None:
        if not self._followed[queue]:
            del self._followed[queue]
            self._lookers.pop(queue).cancel()

    async def _look(self, queue: str) -> None:
        blind = False
        while True:
            await asyncio.sleep(TICK)
            jobs = dict(self._followed[queue])
            try:
                found = await self._tasks.get_many(list(jobs), queue=queue)
                blind = False
            except BackendError as error:
                if not blind:
                    log.warning("Followed jobs of queue %r cannot be seen for now: %s", queue, error)
                blind = True
                continue
            except FifoqError as error:  # the Fifoq was closed under the streams
                log.warning("Jobs of queue %r are no longer followed: %s", queue, error)
                found = [None] * len(jobs)
            for followed, job in zip(jobs.values(), found, strict=True):
                followed.show(job)

    async def _end(self, job: Job, followed: Followed) -> None:
        try:
            followed.show(await self._tasks.finished(job.id, queue=job.queue))
        except JobNotFound:
            followed.show(None)
        except FifoqError:
            return  # the looks go on, and say what is wrong
