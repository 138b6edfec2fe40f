"""
The JSON of jobs and keys, as pages, single answers and streams all show it: one text per job, equal in each of them.

It is made of stored data, so no part of it may raise: a field that cannot be read has a marker (`fifoq.jsonable`) or
null in its place. The models in schemas.py document it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import fifoq
from fifoq.jsonable import bounded_json, dump, iso_time, readable, to_json, unreadable

MAX_ARGUMENTS = 64 * 1024
"""The most bytes of JSON that `args` may take, and `kwargs`: larger arguments are shortened by markers."""

_UNREADABLE = dump(unreadable())
_NO_ERROR = fifoq.JobError("unreadable", "The stored error cannot be read.", "")


JobJson = Callable[[fifoq.Job, str], str]
"""A function from a job, and its id for the caller, to its JSON."""


def job_json(job: fifoq.Job, id: str, *, traceback: bool = False) -> str:
    """Return the JSON of a job; `id` is its id for its owner. With `traceback`, its error has one."""
    kwargs = readable(lambda: job.kwargs, None)
    args = [] if kwargs is None else list(job.args)
    fields = {
        "id": to_json(id),
        "queue": to_json(job.queue),
        "task": to_json(job.task),
        "key": to_json(job.key),
        "state": to_json(job.state.value),
        "args": bounded_json(args, MAX_ARGUMENTS),
        "kwargs": _UNREADABLE if kwargs is None else bounded_json(kwargs, MAX_ARGUMENTS),
        "priority": to_json(job.priority),
        "attempt": to_json(job.attempt),
        "crashes": to_json(job.crashes),
        **{name: _time(job, name) for name in ("created_at", "due_at", "started_at", "finished_at")},
        "result": readable(lambda: to_json(job.result), _UNREADABLE),
        "error": _error(readable(lambda: job.error, _NO_ERROR), traceback),
        "reason": to_json(job.reason),
        "cancel_requested": to_json(job.cancel_requested),
        "progress": progress_json(readable(lambda: job.progress, None)),
        "meta": readable(lambda: to_json(job.meta), _UNREADABLE),
        "owner": to_json(job.owner),
    }
    return _object(fields)


def progress_json(progress: fifoq.Progress | None) -> str:
    """Return the JSON of a progress."""
    return "null" if progress is None else to_json(progress._asdict())


def jobs_json(jobs: Sequence[str], cursor: str | None) -> str:
    """Return the JSON of a page of jobs, given theirs."""
    return _object({"jobs": _list(jobs), "cursor": dump(cursor)})


def keys_json(page: fifoq.KeyPage, job_ids: Iterable[str | None]) -> str:
    """Return the JSON of a page of blocked keys; `job_ids` are the jobs' ids for their owner."""
    keys = [
        {"queue": key.queue, "key": key.key, "job_id": job_id, "reason": key.reason, "since": iso_time(key.since)}
        for key, job_id in zip(page.keys, job_ids, strict=True)
    ]
    return dump({"keys": keys, "cursor": page.cursor})


def queues_json(stats: Mapping[str, fifoq.QueueStats]) -> str:
    """Return the JSON of queues, by name."""
    return dump({"queues": [_queue(name, counts) for name, counts in stats.items()]})


def _queue(name: str, stats: fifoq.QueueStats) -> dict[str, Any]:
    gates = [gate._asdict() for gate in stats.gates]
    return {"name": name, **stats._asdict(), "paused": stats.paused, "gates": gates}


def _object(members: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}"


def _list(items: Iterable[str]) -> str:
    return "[" + ",".join(items) + "]"


def _time(job: fifoq.Job, name: str) -> str:
    return to_json(readable(lambda: getattr(job, name), None))


def _error(error: fifoq.JobError | None, traceback: bool) -> str:
    if error is None:
        return "null"
    shown = {"type": error.type, "message": error.message}
    return to_json(shown | {"traceback": error.traceback} if traceback else shown)
