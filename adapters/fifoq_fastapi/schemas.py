"""
The models of the responses, as FastAPI documents them. rendering.py makes their JSON.

The docstrings and descriptions of the models are part of the OpenAPI document. Their names begin with the project's: of
two models of one name in a document, FastAPI would rename both, also that of the app.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

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
    "declared": True,
    "paused": False,
    "gates": [],
}


class FifoqState(StrEnum):
    """The state of a job."""

    SCHEDULED = "scheduled"
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class FifoqJobError(BaseModel):
    """What went wrong in the last attempt that did not succeed. Its traceback is shown to operators only."""

    type: str
    message: str
    traceback: str | None = None


class FifoqProgress(BaseModel):
    """How far a running job says it is."""

    done: int
    total: int | None
    note: str


class FifoqJob(BaseModel):
    """
    A job at one instant. Arguments and result are as they were sent.

    Texts stand for bytes (base64), times (ISO 8601), NaN and infinities. A value that JSON cannot hold is replaced by
    an object with the member `$fifoq`, which names the reason: `too deep`, `too large` (arguments beyond 64 KiB),
    `integer`, `pairs`, `unreadable`.

    The worker's name is not shown, since it names a machine. Only operators get the traceback of an error.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={"examples": [_JOB]},
    )

    id: str
    queue: str
    task: str
    key: str | None = Field(description="Jobs that share a key run one at a time, in the order they came.")
    state: FifoqState
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
    error: FifoqJobError | None
    reason: str | None = Field(description="Why it was cancelled, or is asked to be.")
    cancel_requested: bool
    progress: FifoqProgress | None
    meta: dict[str, str]
    owner: str | None


class FifoqJobPage(BaseModel):
    """Some jobs, in order of entry, queue after queue."""

    jobs: list[FifoqJob]
    cursor: str | None = Field(description="What to pass on to see the next page; null at the end.")


class FifoqGate(BaseModel):
    """What bounds the jobs of a queue, or of one of its tasks, and how many there are."""

    task: str | None = Field(description="null: the bounds of the whole queue.")
    paused: bool
    limit: int | None = Field(description="How many may run at a time.")
    value_limit: int | None = Field(description="How many may run at a time for each value of an argument.")
    rate: float | None = Field(description="How many may begin in a second.")
    burst: int = Field(description="How many of them may begin at once.")
    capacity: int | None = Field(description="How many may be scheduled, waiting or running.")
    overridden: bool = Field(description="An operator's settings count, not those that were declared.")
    live: int = Field(description="How many are scheduled, waiting or running.")
    running: int


class FifoqQueue(BaseModel):
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
    declared: bool = Field(description="Whether this app knows the queue, or the store alone.")
    paused: bool = Field(description="Whether the queue as a whole is paused.")
    gates: list[FifoqGate] = Field(description="Of the queue itself, and of its tasks, by name.")


class FifoqQueues(BaseModel):
    """The queues, in order of name."""

    queues: list[FifoqQueue]


class FifoqBlockedKey(BaseModel):
    """A key whose next job may not begin, for another reason than that one runs."""

    queue: str
    key: str
    job_id: str | None = Field(description="The job that blocks it; null if the key is paused and has no job.")
    reason: str = Field(description="`halted`, `paused` or `backing off`.")
    since: datetime


class FifoqKeyPage(BaseModel):
    """Some blocked keys, those blocked for longest first, queue after queue."""

    keys: list[FifoqBlockedKey]
    cursor: str | None = Field(description="What to pass on to see the next page; null at the end.")


class FifoqProblemError(BaseModel):
    """One part of a request that is not valid."""

    where: str
    message: str


class FifoqProblem(BaseModel):
    """
    RFC 9457 problem details. `type` names the kind of problem to programs, `detail` tells people what to do.
    """

    type: str
    title: str
    status: int
    detail: str
    parameter: str | None = Field(None, description="The argument that does not fit.")
    errors: list[FifoqProblemError] | None = Field(
        None, description="The first parts of the request that are not valid."
    )
    more_errors: int | None = Field(None, description="How many more parts were found not to be valid.")
    job_id: str | None = None
    task: str | None = None
