"""
The models of the responses, as FastAPI documents them. rendering.py makes their JSON.

The docstrings and descriptions of the models are part of the OpenAPI document.
"""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

import fifoq

_JOB: JsonValue = {
    "id": "018f6c1e-6f4b-7c3a-9d59-1c4b8f0a7e21",
    "queue": "default",
    "task": "save_stats",
    "key": "m1",
    "state": "waiting",
    "args": [],
    "kwargs": {"match_id": "m1", "tick": 3, "goals": 1},
    "priority": 0,
    "attempt": 0,
    "crashes": 0,
    "created_at": "2026-11-21T12:00:00.000000Z",
    "due_at": None,
    "started_at": None,
    "finished_at": None,
    "result": None,
    "error": None,
    "reason": None,
    "cancel_requested": False,
    "progress": None,
    "meta": {},
    "owner": None,
}
_QUEUE: JsonValue = {
    "name": "default",
    "scheduled": 0,
    "waiting": 12,
    "running": 4,
    "succeeded": 1840,
    "failed": 1,
    "cancelled": 0,
    "oldest_waiting": 0.25,
}


class JobError(BaseModel):
    """What went wrong in the last attempt that did not succeed. Its traceback stays on the server."""

    type: str
    message: str


class Progress(BaseModel):
    """How far a running job says it is."""

    done: int
    total: int | None
    note: str


class Job(BaseModel):
    """
    A job at one instant. Arguments and result are as they were sent.

    Texts stand for bytes (base64), times (ISO 8601), NaN and infinities. A value that JSON cannot hold is replaced by
    an object with the member `$fifoq`, which names the reason: `too deep`, `too large` (arguments beyond 64 KiB),
    `integer`, `pairs`, `unreadable`.

    The worker's name and the traceback of an error are not shown: they tell of the machines behind the API.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={"examples": [_JOB]},
    )

    id: str
    queue: str
    task: str
    key: str | None = Field(description="Jobs that share a key run one at a time, in the order they came.")
    state: fifoq.State
    args: list[Any]
    kwargs: dict[str, Any]
    priority: int
    attempt: int
    crashes: int
    created_at: datetime
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    result: Any
    error: JobError | None
    reason: str | None = Field(description="Why it was cancelled, or is asked to be.")
    cancel_requested: bool
    progress: Progress | None
    meta: dict[str, str]
    owner: str | None


class JobPage(BaseModel):
    """Some jobs, in order of entry, queue after queue."""

    jobs: list[Job]
    cursor: str | None = Field(description="What to pass on to see the next page; null at the end.")


class Queue(BaseModel):
    """A queue, and its jobs counted at one instant."""

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra={"examples": [_QUEUE]})

    name: str
    scheduled: int
    waiting: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    oldest_waiting: float | None = Field(description="For how many seconds the first in line has been there.")


class Queues(BaseModel):
    """The queues, in order of name."""

    queues: list[Queue]


class BlockedKey(BaseModel):
    """A key whose next job may not begin, for another reason than that one runs."""

    queue: str
    key: str
    job_id: str | None = Field(description="The job that blocks it; null if the key is paused and has no job.")
    reason: str = Field(description="`halted`, `paused` or `backing off`.")
    since: datetime


class KeyPage(BaseModel):
    """Some blocked keys, those blocked for longest first, queue after queue."""

    keys: list[BlockedKey]
    cursor: str | None = Field(description="What to pass on to see the next page; null at the end.")


class Problem(BaseModel):
    """
    RFC 9457 problem details. `type` names the kind of problem to programs, `detail` tells people what to do.

    Self-contained: routes document it by its own JSON schema.
    """

    type: str
    title: str
    status: int
    detail: str
    parameter: str | None = Field(None, description="The argument that does not fit.")
    errors: list[dict[str, str]] | None = Field(
        None, description="The first parts of the request that are not valid: `where` and `message` of each."
    )
    more_errors: int | None = Field(None, description="How many more parts were found not to be valid.")
    job_id: str | None = None
    task: str | None = None
