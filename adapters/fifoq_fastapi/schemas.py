"""What the routes answer, as models: they make the OpenAPI document, and turn jobs into JSON."""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from fifoq import job
from fifoq.state import State


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

    The worker's name and the traceback of an error are not shown: they tell of the machines behind the API.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        from_attributes=True, ser_json_bytes="base64", ser_json_inf_nan="strings", ser_json_timedelta="float"
    )

    id: str
    queue: str
    task: str
    key: str | None = Field(description="Jobs that share a key run one at a time, in the order they came.")
    state: State
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


def job_of(found: job.Job, id: str) -> Job:
    """Return `found` as the routes show it, under the `id` that its owner knows it by."""
    return Job(
        id=id,
        queue=found.queue,
        task=found.task,
        key=found.key,
        state=found.state,
        args=list(found.args),
        kwargs=found.kwargs,
        priority=found.priority,
        attempt=found.attempt,
        crashes=found.crashes,
        created_at=found.created_at,
        due_at=found.due_at,
        started_at=found.started_at,
        finished_at=found.finished_at,
        result=found.result,
        error=_error(found.error),
        reason=found.reason,
        cancel_requested=found.cancel_requested,
        progress=_progress(found.progress),
        meta=found.meta,
        owner=found.owner,
    )


def _error(error: job.JobError | None) -> JobError | None:
    return None if error is None else JobError(type=error.type, message=error.message)


def _progress(progress: job.Progress | None) -> Progress | None:
    return None if progress is None else Progress(done=progress.done, total=progress.total, note=progress.note)


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
        None, description="All parts of the request that are not valid: `where` and `message` of each."
    )
    job_id: str | None = None
    task: str | None = None
