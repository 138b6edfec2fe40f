"""
Server-sent events of a job's state and progress, each with an id to resume from.

A stream ends with its job, or when the server shuts down.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager, nullcontext
from hashlib import blake2b
from typing import Any, NamedTuple

from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.types import Receive, Scope, Send

from fifoq import Fifoq, Job, Progress
from fifoq.errors import BackendError, FifoqError, JobNotFound
from fifoq.jsonable import readable
from fifoq_fastapi.lifecycle import ServerShutdown
from fifoq_fastapi.problems import ProblemResponse, ProblemType, problem_response
from fifoq_fastapi.rendering import progress_json

log = logging.getLogger("fifoq.fastapi")

POLL_INTERVAL = 0.5
"""Seconds between two queries of the followed jobs."""
KEEP_ALIVE = 15.0
"""Seconds without an event after which a comment is sent: proxies close connections that are idle for longer."""
RECONNECT_DELAY = 1000
"""Milliseconds that a client waits before it reconnects a lost stream."""
TOO_MANY_STREAMS = ProblemType(503, "too-many-streams", "Too many streams")


# ---- following jobs ----


class FollowedJob:
    """A job that streams follow: its newest snapshot, and a way to wait for the next one."""

    def __init__(self, job: Job) -> None:
        self.followers = 0
        self.end_waiter: asyncio.Task[None] | None = None
        """Waits for the end of the job, so that streams send it at once and not after the next query."""
        self._job: Job | None = job
        self._created_at = job.created_at
        self._changed = asyncio.Event()

    def update(self, job: Job | None) -> None:
        """Store a newer snapshot. A job that is gone stays so: another job under its id is not followed."""
        if job is not None and job.created_at != self._created_at:
            job = None
        if self._job is None or job == self._job:
            return
        self._job = job
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed_from(self, seen: Job | None) -> Job | None:
        """Return the job once it differs from `seen`; None once it is gone."""
        while self._job is not None and self._job == seen:
            await self._changed.wait()
        return self._job


class JobFollower:
    """
    The followed jobs of one Fifoq, queried regularly.

    Each queue with followed jobs has one asyncio task that queries all of them at once. Only the newest snapshot of a
    job is kept: a client that reads slowly misses some, and costs no memory.
    """

    def __init__(self, tasks: Fifoq) -> None:
        self._tasks = tasks
        self._followed: dict[str, dict[str, FollowedJob]] = {}
        self._pollers: dict[str, asyncio.Task[None]] = {}

    @contextmanager
    def follow(self, job: Job) -> Generator[FollowedJob]:
        """Follow a job inside the `with` block."""
        jobs = self._followed.setdefault(job.queue, {})
        followed = jobs.setdefault(job.id, FollowedJob(job))
        followed.followers += 1
        if followed.end_waiter is None:
            followed.end_waiter = asyncio.create_task(
                self._await_end(job, followed), name="fifoq: awaits a followed job"
            )
        if job.queue not in self._pollers:
            self._pollers[job.queue] = asyncio.create_task(self._poll(job.queue), name="fifoq: queries followed jobs")
        try:
            yield followed
        finally:
            followed.followers -= 1
            if not followed.followers:
                followed.end_waiter.cancel()
                del jobs[job.id]
                self._stop_if_unused(job.queue)

    def _stop_if_unused(self, queue: str) -> None:
        if not self._followed[queue]:
            del self._followed[queue]
            self._pollers.pop(queue).cancel()

    async def _poll(self, queue: str) -> None:
        failing = False
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            jobs = dict(self._followed[queue])
            try:
                found = await self._tasks.get_many(list(jobs), queue=queue)
                failing = False
            except BackendError as error:
                if not failing:
                    log.warning("Followed jobs of queue %r cannot be read for now: %s", queue, error)
                failing = True
                continue
            except FifoqError as error:  # the Fifoq was closed under the streams
                log.warning("Jobs of queue %r are no longer followed: %s", queue, error)
                found = [None] * len(jobs)
            for followed, job in zip(jobs.values(), found, strict=True):
                followed.update(job)

    async def _await_end(self, job: Job, followed: FollowedJob) -> None:
        try:
            followed.update(await self._tasks.finished(job.id, queue=job.queue))
        except JobNotFound:
            followed.update(None)
        except FifoqError:
            return  # the queries go on, and log the error


# ---- streams ----


class StreamTarget(NamedTuple):
    """The job of one stream, and its client's place in it."""

    job: Job
    json: Callable[[Job], str]
    """Returns the JSON of the job for this client."""
    last_event_id: str | None
    """The id of the last event that the client has received."""
    shutdown: ServerShutdown | None
    owner: str | None
    """The owner of whose share the stream takes a slot; None if the router has no owners."""


class Streams:
    """
    The open streams of one router: at most `limit` at a time, and a part of them for each owner.

    Fewer than half of the slots are for owners that already have a stream. The others are for first streams, so an
    owner with many streams, and many such owners, leave room for the first one of the next owner.
    """

    def __init__(self, follower: JobFollower, limit: int) -> None:
        self.follower = follower
        self.limit = limit
        self._open = Counter[str | None]()
        """The number of open streams by owner; no entry is 0."""

    @contextmanager
    def slot(self, owner: str | None) -> Generator[bool]:
        """Take a slot for one stream of `owner` inside the `with` block; False if there is none for it."""
        if not self._has_room(owner):
            yield False
            return
        self._open[owner] += 1
        try:
            yield True
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]

    def _has_room(self, owner: str | None) -> bool:
        taken = self._open.total()
        if taken >= self.limit:
            return False
        if owner is None or owner not in self._open:
            return True
        further = taken - len(self._open)
        return further < (self.limit - 1) // 2


class EventStream(StreamingResponse):
    """
    The streaming response. It takes its slot when it is sent, so a response that is never sent leaves no slot taken.

    It is not FastAPI's EventSourceResponse: an endpoint of that is a generator, which could not answer 404 or 204.
    """

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, target: StreamTarget) -> None:
        # `no-transform` and the second header keep proxies from buffering events.
        super().__init__((), headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"})
        self._streams = streams
        self._target = target

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        streams = self._streams
        with streams.slot(self._target.owner) as has_slot:
            if not has_slot:
                await _refusal(streams.limit)(scope, receive, send)
                return
            with streams.follower.follow(self._target.job) as followed:
                events = _events(followed, self._target)
                self.body_iterator = events
                async with aclosing(events):
                    await super().__call__(scope, receive, send)


def event_id(job: Job) -> str:
    """Return the id of the event that shows `job` as it is: the same in every process, another after any change."""
    return blake2b(repr((*_state_fields(job), _progress(job))).encode(), digest_size=12).hexdigest()


async def _events(followed: FollowedJob, target: StreamTarget) -> AsyncGenerator[bytes]:
    job, shutdown = target.job, target.shutdown
    yield KEEPALIVE_COMMENT if event_id(job) == target.last_event_id else _event(job, None, target.json)
    while not job.state.ended:
        try:
            newer = await _wait_for_change(followed, job, shutdown)
        except TimeoutError:
            if shutdown is not None and shutdown.begun:
                return
            yield KEEPALIVE_COMMENT
            continue
        if newer is None:
            yield format_sse_event(event="gone", data_str="{}")
            return
        if event_id(newer) != event_id(job):
            yield _event(newer, job, target.json)
        job = newer


async def _wait_for_change(followed: FollowedJob, job: Job, shutdown: ServerShutdown | None) -> Job | None:
    async with asyncio.timeout(KEEP_ALIVE) as timeout:
        with nullcontext() if shutdown is None else shutdown.cuts(timeout):
            return await followed.changed_from(job)


def _event(job: Job, before: Job | None, json: Callable[[Job], str]) -> bytes:
    """Return the whole job, or its progress alone if only that has changed since `before`; None begins the stream."""
    progress = _progress(job)
    if before is not None and progress is not None and _state_fields(job) == _state_fields(before):
        data, name = progress_json(progress), "progress"
    else:
        data, name = json(job), "state"
    retry = RECONNECT_DELAY if before is None else None
    return format_sse_event(data_str=data, event=name, id=event_id(job), retry=retry)


def _state_fields(job: Job) -> tuple[Any, ...]:
    """Return all fields that change in a job's life, except its progress."""
    times = [readable(lambda name=name: getattr(job, name), None) for name in _TIMES]
    return (job.state.value, job.attempt, job.crashes, job.cancel_requested, *map(str, times))


def _progress(job: Job) -> Progress | None:
    return readable(lambda: job.progress, None)


_TIMES = ("created_at", "due_at", "started_at", "finished_at")


def _refusal(limit: int) -> ProblemResponse:
    detail = f"None of this server's {limit:,} streams is free for you. Poll the job instead, or come back later."
    return problem_response(TOO_MANY_STREAMS, detail, headers={"Retry-After": "5"})
