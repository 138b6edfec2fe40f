"""Reading and operators' verbs: find, stats, blocked keys; cancel, requeue, skip, purge, configure."""

from collections.abc import Sequence

from fifoq.errors import InvalidArguments
from fifoq.queue import (
    MAX_PAGE,
    BlockedKeyRecord,
    BlockedKeys,
    Changed,
    Declare,
    Gate,
    Override,
    Pause,
    Resume,
    Setting,
    Stats,
)
from fifoq.record import Filter, Record, Records, State
from fifoq_memory import jobs
from fifoq_memory.indexes import Since
from fifoq_memory.jobs import Job, Line, TaskGate
from fifoq_memory.queue_state import RUNNING, WAITING, QueueState

_GONE = Changed(None, False)


# ---- reading ----


def find(state: QueueState, filter: Filter, cursor: int, limit: int) -> Records:
    """Return a page of matching records, in order of entry."""
    records: list[Record] = []
    for looked, (number, job) in enumerate(state.numbers.after(cursor)):
        if looked == MAX_PAGE or len(records) == limit:
            return Records(tuple(records), cursor)
        cursor = number
        # A job that entered the line later has a second number, its seq; it is listed under its entry only.
        if number == job.entry and _matches(job, filter):
            records.append(job.record())
    return Records(tuple(records), None)


def _matches(job: Job, filter: Filter) -> bool:
    spec = job.spec
    seen = Filter(job.state, spec.task, spec.key, spec.owner)
    return all(wanted is None or wanted == there for wanted, there in zip(filter, seen, strict=True))


def stats(state: QueueState, now: int) -> Stats:
    """Return the counts, with the oldest waiting job and the gates."""
    oldest = state.oldest.find(state.numbers)
    tasks = sorted((task for task in state.tasks.values() if task.known), key=lambda task: task.name)
    return Stats(
        scheduled=state.scheduled,
        waiting=state.live - state.gate.running - state.scheduled,
        running=state.gate.running,
        succeeded=state.ended[State.SUCCEEDED],
        failed=state.ended[State.FAILED],
        cancelled=state.ended[State.CANCELLED],
        purged=state.purged,
        accepted=state.accepted,
        oldest_waiting=None if oldest is None else now - oldest.created_at,
        gates=(_shown_gate(None, state.gate, state.live), *(_shown_gate(task.name, task, task.live) for task in tasks)),
    )


def _shown_gate(task: str | None, gate: jobs.Gate, live: int) -> Gate:
    return Gate(task, gate.settings, gate.override is not None, gate.paused, live, gate.running)


def blocked_keys(state: QueueState, cursor: str | None, limit: int, owner: str | None) -> BlockedKeys:
    """Return a page of blocked keys, oldest first; with `owner`, of those whose head is a job of that owner."""
    keys: list[BlockedKeyRecord] = []
    last: Since | None = _read_cursor(cursor)
    for read, (since, key) in enumerate(state.blocked.after(last)):
        if len(keys) == limit or read == MAX_PAGE:
            return BlockedKeys(tuple(keys), cursor)
        head = state.lines[key].head
        if owner is None or (head is not None and head.spec.owner == owner):
            keys.append(_blocked_key(state.lines[key]))
        cursor = f"{since}:{key}"
    return BlockedKeys(tuple(keys), None)


def _read_cursor(cursor: str | None) -> Since | None:
    if cursor is None:
        return None
    since, colon, key = cursor.partition(":")
    if not (colon and since.isdecimal()):
        raise InvalidArguments(
            f"A cursor is one that a page of blocked keys gave, not {cursor!r}. Leave it out to begin.",
            parameter="cursor",
        )
    return int(since), key


def _blocked_key(line: Line) -> BlockedKeyRecord:
    blocked = line.blocked()
    assert blocked is not None, f"the key {line.key!r} is in the index of blocked keys and is not blocked"
    return BlockedKeyRecord(line.key, None if line.head is None else line.head.spec.id, *blocked)


# ---- operators ----


def cancel(state: QueueState, now: int, id: str, reason: str) -> Changed:
    """Cancel a job that is scheduled or waits; request the cancellation of one that runs."""
    job = state.jobs.get(id)
    if job is None:
        return _GONE
    if job.state.ended or job.cancel_requested:
        return Changed(job.state, False)
    job.reason = reason
    if job.state is RUNNING:
        job.cancel_requested = True
    else:
        state.end(job, State.CANCELLED, now, 0)
    return Changed(job.state, True)


def requeue(state: QueueState, id: str) -> Changed:
    """Put a failed job back: a halted one at its place, any other at the end of the line."""
    job = state.jobs.get(id)
    if job is None:
        return _GONE
    if job.state is not State.FAILED:
        return Changed(job.state, False)
    unique = job.spec.unique
    if not job.halted and unique is not None:
        holder = state.uniques.setdefault(unique, job)
        if holder is not job:
            return Changed(job.state, False, holder.spec.id)
    _reopen(state, job)
    return Changed(job.state, True)


def _reopen(state: QueueState, job: Job) -> None:
    halted = job.halted
    _forget_tries(job)
    state.ended[State.FAILED] -= 1
    job.task.live += 1
    state.purges.clear(job.entry)
    if not halted:
        state.arrive_late(job)
    elif job.line is not None:
        state.oldest.came_back(job)
        state.offer_head(job.line)


def _forget_tries(job: Job) -> None:
    job.state, job.halted, job.kept_until = WAITING, False, None
    job.attempt = job.crashes = 0
    job.error = job.progress = job.worker = job.started_at = job.finished_at = None


def skip(state: QueueState, now: int, id: str) -> Changed:
    """Free the key of a halted job for its successors."""
    job = state.jobs.get(id)
    if job is None:
        return _GONE
    if not job.halted:
        return Changed(job.state, False)
    job.halted = False
    state.leave(job, now)
    return Changed(State.FAILED, True)


def purge(state: QueueState, now: int, limit: int) -> int:
    """Remove ended jobs whose time is over, by (time, entry)."""
    over = state.purges.due(now, limit)
    for entry in over:
        job = state.numbers.get(entry)
        assert job is not None, f"entry {entry} is to be purged and has no job"
        state.remove(job)
    # The next `stats` has fewer numbers to pass then.
    state.oldest.find(state.numbers)
    return len(over)


# ---- settings ----


def configure(state: QueueState, now: int, settings: Sequence[Setting]) -> None:
    """Apply settings, in order."""
    for setting in settings:
        _apply(state, now, setting)
    gates = (state.gate, *state.tasks.values())
    state.rated = any(gate.interval is not None for gate in gates)
    state.capped = any(gate.settings.capacity is not None for gate in gates)
    state.notify = True


def _apply(state: QueueState, now: int, setting: Setting) -> None:
    match setting:
        case Declare(task, settings):
            gate = _gate(state, task)
            gate.declared = settings
            _put_in_force(gate)
        case Override(task, settings):
            gate = _gate(state, task)
            gate.override = settings
            _put_in_force(gate)
        case Pause(_, str(key)):
            _pause(state, key, now)
        case Resume(_, str(key)):
            _resume(state, key)
        case Pause(task):
            _gate(state, task).paused = True
        case Resume(task):
            _gate(state, task).paused = False
    _drop_blank(state, setting.task)


def _drop_blank(state: QueueState, task: str | None) -> None:
    """Remove the gate of a task if nothing is left of it: names that only operators used would stay for ever."""
    gate = None if task is None else state.tasks.get(task)
    if gate is not None and gate.blank:
        del state.tasks[gate.name]


def _gate(state: QueueState, task: str | None) -> jobs.Gate:
    return state.gate if task is None else state.task(task)


def _put_in_force(gate: jobs.Gate) -> None:
    """Put a gate's settings in force, in O(values of the task) if their width changed."""
    before = gate.settings.value_limit
    gate.read_settings()
    if isinstance(gate, TaskGate) and gate.settings.value_limit != before:
        for value in gate.values.values():
            value.show()


def _pause(state: QueueState, key: str, now: int) -> None:
    line = state.lines.get(key)
    if line is None:
        line = state.lines[key] = Line(key)
    if line.paused_since is None:
        line.paused_since = now
        if line.head is not None and line.head.state is WAITING:
            line.head.task.withdraw(line.head)
        state.update_blocked(line)


def _resume(state: QueueState, key: str) -> None:
    line = state.lines.get(key)
    if line is not None and line.paused_since is not None:
        line.paused_since = None
        state.offer_head(line)
