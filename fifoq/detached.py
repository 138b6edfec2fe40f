"""The Context of a plain call: a task that is called like a function, in a test or a script, gets this one."""

import time
from typing import Any

from fifoq.context import NOTED, Context, Noted
from fifoq.job import Job
from fifoq.record import JobSpec, Record
from fifoq.state import State


class DetachedContext(Context):
    """A first attempt of a job that no queue holds: nothing is written, and nobody cancels it."""

    __slots__ = ("_job",)

    def __init__(self, queue: str, spec: JobSpec) -> None:
        self._job = Job(queue, _running(spec, time.time_ns() // 1_000))

    @property
    def job(self) -> Job:
        return self._job

    @property
    def fence(self) -> int:
        return 0

    @property
    def cancelled(self) -> bool:
        return False

    @property
    def resources(self) -> Any:
        return None

    def progress(self, done: int, total: int | None = None, note: str = "") -> Noted:
        return NOTED


def _running(spec: JobSpec, now: int) -> Record:
    return Record(
        spec=spec,
        entry=0,
        seq=0,
        state=State.RUNNING,
        attempt=1,
        crashes=0,
        created_at=now,
        due_at=None,
        started_at=now,
        finished_at=None,
        worker=None,
        result=None,
        error=None,
        progress=None,
        reason=None,
        cancel_requested=False,
        halted=False,
    )
