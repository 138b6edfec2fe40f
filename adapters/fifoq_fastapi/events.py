"""A job's state and progress as server-sent events: each with an id to resume from, ended by the job or the server."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager, nullcontext
from hashlib import blake2b
from typing import Any, NamedTuple

from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.types import Receive, Scope, Send

from fifoq import Fifoq
from fifoq.errors import BackendError, FifoqError, JobNotFound
from fifoq.job import Job
from fifoq_fastapi.lifecycle import ServerShutdown
from fifoq_fastapi.problems import Kind, ProblemResponse, respond
from fifoq_fastapi.schemas import job_of, progress_of

log = logging.getLogger("fifoq.fastapi")

TICK = 0.5
"""Seconds between two looks at the jobs that are followed."""


class FollowedJob:
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


class JobFollower:
    """
    Looks at the followed jobs of one Fifoq.

    Each queue with followed jobs has one asyncio task that asks for all of them at once. Only the newest look is kept:
    who reads slowly misses what lies between, and costs no memory.
    """

    def __init__(self, tasks: Fifoq) -> None:
        self._tasks = tasks
        self._followed: dict[str, dict[str, FollowedJob]] = {}
        self._lookers: dict[str, asyncio.Task[None]] = {}

    @contextmanager
    def follow(self, job: Job) -> Generator[FollowedJob]:
        """Follow a job for a block."""
        jobs = self._followed.setdefault(job.queue, {})
        followed = jobs.setdefault(job.id, FollowedJob(job))
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

    async def _end(self, job: Job, followed: FollowedJob) -> None:
        try:
            followed.show(await self._tasks.finished(job.id, queue=job.queue))
        except JobNotFound:
            followed.show(None)
        except FifoqError:
            return  # the looks go on, and say what is wrong


KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent: proxies close what is silent for longer."""
RECONNECT = 1000
"""Milliseconds after which a client that lost its stream is told to come back."""
TOO_MANY = Kind(503, "too-many-streams", "Too many streams")


class Subject(NamedTuple):
    """What a stream is about, and to whom."""

    job: Job
    shown_id: str
    """The id that the client knows it by."""
    last_event_id: str | None
    """What the client has seen already."""
    ending: ServerShutdown | None


class Streams:
    """The open streams of one router: at most `limit` at a time."""

    def __init__(self, watch: JobFollower, limit: int) -> None:
        self.watch = watch
        self.limit = limit
        self._open = 0

    @contextmanager
    def place(self) -> Generator[bool]:
        """A place for one stream for a block, or False if all are taken."""
        if self._open >= self.limit:
            yield False
            return
        self._open += 1
        try:
            yield True
        finally:
            self._open -= 1


class EventStream(StreamingResponse):
    """
    The answer that goes on. It takes its place when it is sent: one that is never sent leaves none taken.

    It is not FastAPI's EventSourceResponse, for which an endpoint has to be a generator: that one could no longer
    answer 404 or 204.
    """

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, subject: Subject) -> None:
        # `no-transform` and the second header keep proxies from collecting what is to be seen at once.
        super().__init__((), headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"})
        self._streams = streams
        self._subject = subject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        streams = self._streams
        with streams.place() as has_place:
            if not has_place:
                await _refusal(streams.limit)(scope, receive, send)
                return
            with streams.watch.follow(self._subject.job) as followed:
                events = _events(followed, self._subject)
                self.body_iterator = events
                async with aclosing(events):
                    await super().__call__(scope, receive, send)


def event_id(job: Job) -> str:
    """Return the id of the event that shows `job` as it is: the same in every process, another after any change."""
    return blake2b(repr((*_stage(job), job.progress)).encode(), digest_size=12).hexdigest()


async def _events(followed: FollowedJob, subject: Subject) -> AsyncGenerator[bytes]:
    job, ending = subject.job, subject.ending
    yield KEEPALIVE_COMMENT if event_id(job) == subject.last_event_id else _event(job, None, subject.shown_id)
    while not job.state.ended:
        try:
            newer = await _newer(followed, job, ending)
        except TimeoutError:
            if ending is not None and ending.told:
                return
            yield KEEPALIVE_COMMENT
            continue
        if newer is None:
            yield format_sse_event(event="gone", data_str="{}")
            return
        if event_id(newer) != event_id(job):
            yield _event(newer, job, subject.shown_id)
        job = newer


async def _newer(followed: FollowedJob, job: Job, ending: ServerShutdown | None) -> Job | None:
    async with asyncio.timeout(KEEP_ALIVE) as limit:
        with nullcontext() if ending is None else ending.cuts(limit):
            return await followed.other_than(job)


def _event(job: Job, before: Job | None, shown_id: str) -> bytes:
    """The whole job, or its progress alone if nothing else has changed since `before`; None begins the stream."""
    if before is not None and job.progress is not None and _stage(job) == _stage(before):
        data, name = progress_of(job.progress), "progress"
    else:
        data, name = job_of(job, shown_id), "state"
    retry = RECONNECT if before is None else None
    return format_sse_event(data_str=data.model_dump_json(), event=name, id=event_id(job), retry=retry)


def _stage(job: Job) -> tuple[Any, ...]:
    """All that changes in a job's life, but its progress."""
    times = (job.due_at, job.started_at, job.finished_at)
    return (job.created_at, job.state.value, job.attempt, job.crashes, job.cancel_requested, *map(str, times))


def _refusal(limit: int) -> ProblemResponse:
    detail = f"This server has {limit:,} streams open. Poll the job instead, or come back later."
    return respond(TOO_MANY, detail, headers={"Retry-After": "5"})
