"""Claim: the choice of the next job, and its lease; and when time alone makes another job claimable."""

from collections.abc import Collection
from copy import deepcopy
from itertools import chain

from fifoq.queue import Call
from fifoq.record import Lease, State
from fifoq.testing.model.queue_state import Job, QueueState, fire


def score(job: Job) -> int:
    """Return the score of a job: the smallest is claimed first."""
    return (9 - job.spec.priority) * 2**48 + job.place


def offered(state: QueueState, job: Job) -> bool:
    """Whether only a gate can keep a job from running."""
    if job.state is not State.WAITING or job.due_at is not None:
        return False
    key = job.spec.key
    return key is None or (key not in state.paused_keys and state.head(key) is job)


def is_open(state: QueueState, now: int, task: str | None) -> bool:
    """Whether a queue's (None) or a task's gate lets one more through."""
    limit = state.settings(task).limit
    has_slot = limit is None or len(state.running(task)) < limit
    return task not in state.paused and has_slot and token_in(state, now, task) == 0


def has_value_slot(state: QueueState, job: Job) -> bool:
    """Whether the gate of the job's value, if it has one, lets one more through."""
    limit = state.settings(job.spec.task).value_limit
    if limit is None or job.spec.value is None:
        return True
    return sum(other.spec.value == job.spec.value for other in state.running(job.spec.task)) < limit


def token_in(state: QueueState, now: int, task: str | None) -> int:
    """Return the microseconds until the gate's rate has a token: 0 if it has one, or no rate."""
    settings = state.settings(task)
    if settings.interval is None:
        return 0
    return max(0, state.tat.get(task, now) - now - (settings.burst - 1) * settings.interval)


def claimable(state: QueueState, now: int, tasks: Collection[str]) -> list[Job]:
    """Return all jobs of these tasks that may run now."""
    if not is_open(state, now, None):
        return []
    open_tasks = {task for task in tasks if is_open(state, now, task)}
    of_tasks = (job for job in state.jobs if job.spec.task in open_tasks)
    return [job for job in of_tasks if offered(state, job) and has_value_slot(state, job)]


def claim_one(state: QueueState, now: int, call: Call, worker: str, lease: int, tasks: Collection[str]) -> Lease | None:
    """Lease the best claimable job, if there is any."""
    job = min(claimable(state, now, tasks), key=score, default=None)
    if job is None:
        return None
    for task in (None, job.spec.task):
        _take_token(state, now, task)
    state.fence += 1
    job.token = f"{call.caller}.{call.number}.{state.fence}"
    job.state, job.worker, job.started_at, job.lease_end = State.RUNNING, worker, now, now + lease
    job.attempt += 1
    job.due_at = job.expires_at = job.progress = None
    return Lease(job.spec, job.token, state.fence, job.entry, job.place, job.attempt, job.crashes, job.created_at, now)


def _take_token(state: QueueState, now: int, task: str | None) -> None:
    interval = state.settings(task).interval
    if interval is not None:
        state.tat[task] = max(state.tat.get(task, now), now) + interval


def moments(state: QueueState, now: int) -> list[int]:
    """Return the microseconds until each timer and until the next token of each empty bucket, ascending."""
    timers = (max(0, job.timer - now) for job in state.jobs if job.timer is not None)
    tokens = (token_in(state, now, task) for task in chain(state.declared, state.overrides))
    return sorted({*timers, *(wait for wait in tokens if wait > 0)})


def soonest(state: QueueState, now: int, tasks: Collection[str]) -> int | None:
    """Return the exact microseconds until time alone makes another job of these tasks claimable: found by trying."""
    before = {job.entry for job in claimable(state, now, tasks)}
    for moment in moments(state, now):
        later = deepcopy(state)
        fire(later, now + moment, at_most=len(later.jobs))
        if {job.entry for job in claimable(later, now + moment, tasks)} - before:
            return moment
    return None
