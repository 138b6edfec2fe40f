"""
The audit: it recomputes each structure that a QueueState derives from its jobs, and returns the differences.

Each check starts from the fields of the jobs (state, times, spec, score), never from another structure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from fifoq.queue import Audit
from fifoq.record import State
from fifoq_memory.indexes import TimerIndex
from fifoq_memory.jobs import Job, Line, ReadySet, TaskGate
from fifoq_memory.queue_state import RUNNING, SCHEDULED, WAITING, QueueState

Lines = dict[str, list[Job]]
"""By key: its live jobs, by seq."""
Offers = dict[str, dict[str | None, dict[int, Job]]]
"""By task and value: the offered jobs, by score."""


def audit(state: QueueState) -> Audit:
    """Compare everything, in O(n log n)."""
    lines = _lines(state)
    offers = _offers(state, lines)
    checks = (_jobs, _numbers, _counts, _uniques, _timers)
    differences = [one for check in checks for one in check(state)]
    differences += _lines_differ(state, lines)
    differences += _gates_differ(state, offers)
    return Audit(tuple(differences), len(state.jobs))


# ---- recomputed from the jobs ----


def _lines(state: QueueState) -> Lines:
    lines: Lines = defaultdict(list)
    for job in state.jobs.values():
        if job.spec.key is not None and job.live:
            lines[job.spec.key].append(job)
    for line in lines.values():
        line.sort(key=lambda job: job.seq or 0)
    return lines


def _offers(state: QueueState, lines: Lines) -> Offers:
    offers: Offers = defaultdict(lambda: defaultdict(dict))
    for job in state.jobs.values():
        key = job.spec.key
        if job.state is not WAITING or job.due_at is not None:
            continue
        line = None if key is None else state.lines.get(key)
        if key is None or (lines[key][0] is job and (line is None or line.paused_since is None)):
            offers[job.spec.task][job.spec.value][job.score] = job
    return offers


# ---- differences: jobs, numbers, counts, timers ----


def _jobs(state: QueueState) -> Iterator[str]:
    for id, job in state.jobs.items():
        ended = job.state.ended
        if job.spec.id != id:
            yield f"Job {job.spec.id} is kept under the id {id}."
        if (job.token is not None, job.lease_end is not None) != (job.state is RUNNING, job.state is RUNNING):
            yield f"Job {id} is {job.state}, its token is {job.token} and its lease ends at {job.lease_end}."
        if (job.seq is None) != (job.state is SCHEDULED) and not (ended and job.seq is None):
            yield f"Job {id} is {job.state} and its seq is {job.seq}."
        if job.halted and (job.state is not State.FAILED or job.spec.key is None):
            yield f"Job {id} is halted, though {job.state} with the key {job.spec.key}."
        if (job.finished_at is not None) != ended or (job.kept_until is not None) != (ended and not job.halted):
            yield f"Job {id} is {job.state}, finished at {job.finished_at} and kept until {job.kept_until}."


def _numbers(state: QueueState) -> Iterator[str]:
    expected = {number: job for job in state.jobs.values() for number in (job.entry, job.seq) if number is not None}
    stored = dict(state.numbers.after(0))
    yield from _differ("The job of number", stored, expected)
    if list(stored) != sorted(stored):
        yield "The index of numbers is not in order."
    if expected and max(expected) > state.number:
        yield f"The last number given out is {state.number}, and a job has {max(expected)}."
    oldest = state.oldest
    for job in state.jobs.values():
        if job.state is WAITING and job.seq is not None and job.seq <= oldest.passed and job.seq not in oldest.seqs:
            yield f"Job {job.spec.id} waits at {job.seq}, behind the place at which the search for the oldest goes on."
    if set(oldest.returned) != oldest.seqs or not _is_heap(oldest.returned):
        yield "The heap of jobs that came back to wait is broken."


def _counts(state: QueueState) -> Iterator[str]:
    states = Counter(job.state for job in state.jobs.values())
    live = states[SCHEDULED] + states[WAITING] + states[RUNNING]
    yield from _differ(
        "The count of the queue",
        {"scheduled": state.scheduled, "live": state.live, "running": state.gate.running, **state.ended},
        {"scheduled": states[SCHEDULED], "live": live, "running": states[RUNNING]}
        | {ended: states[ended] for ended in State if ended.ended},
    )
    if state.accepted != len(state.jobs) + state.purged:
        yield f"{state.accepted} jobs were accepted; {len(state.jobs)} are kept and {state.purged} purged."


def _uniques(state: QueueState) -> Iterator[str]:
    holders = (job for job in state.jobs.values() if job.live or job.state is SCHEDULED)
    expected = {job.spec.unique: job for job in holders if job.spec.unique is not None}
    yield from _differ("The index of unique texts", state.uniques, expected)


def _timers(state: QueueState) -> Iterator[str]:
    jobs = state.jobs.values()
    timers = {job.entry: job.timer for job in jobs if job.timer is not None and not job.state.ended}
    ends = {job.entry: job.kept_until for job in jobs if job.kept_until is not None}
    yield from _timer_index("The timer", state.timers, timers)
    yield from _timer_index("The purge", state.purges, ends)


def _timer_index(name: str, index: TimerIndex, expected: Mapping[int, int]) -> Iterator[str]:
    yield from _differ(f"{name} of entry", index.times, expected)
    marks: dict[int, int] = {}
    for at, entry in [*index.run, *index.rest]:
        marks[entry] = min(at, marks.get(entry, at))
    for entry, at in index.times.items():
        if marks.get(entry, at + 1) > at:
            yield f"{name} of entry {entry} is at {at}, and its mark at {marks.get(entry)}."
    if list(index.run) != sorted(index.run) or not _is_heap(index.rest):
        yield f"{name}s are out of order."


# ---- differences: lines and gates ----


def _lines_differ(state: QueueState, lines: Lines) -> Iterator[str]:
    for key in lines.keys() - state.lines.keys():
        yield f"The key {key!r} has {len(lines[key])} live jobs and no line."
    for key, line in state.lines.items():
        expected = lines.get(key, [])
        ids = [job.spec.id for job in expected]
        if list(line) != expected:
            yield f"The line of key {key!r} is {[job.spec.id for job in line]}, and should be {ids}."
        elif not _is_linked_back(line, expected):
            yield f"The line of key {key!r} is not {ids} when read from its end."
        if not expected and line.paused_since is None:
            yield f"The line of key {key!r} is empty, not paused, and still there."
    expected_blocked = sorted(
        (blocked[1], key) for key, line in state.lines.items() if (blocked := line.blocked()) is not None
    )
    if list(state.blocked.after(None)) != expected_blocked:
        yield f"The blocked keys are {list(state.blocked.after(None))}, and should be {expected_blocked}."
    for key, line in state.lines.items():
        if line.blocked_since != (since := (line.blocked() or (None, None))[1]):
            yield f"The key {key!r} is stored as blocked since {line.blocked_since}, and should be since {since}."


def _is_linked_back(line: Line, expected: list[Job]) -> bool:
    *aheads, last = None, *expected
    return line.tail is last and all(
        job.ahead is ahead and job.line is line for job, ahead in zip(expected, aheads, strict=True)
    )


def _gates_differ(state: QueueState, offers: Offers) -> Iterator[str]:
    live = Counter(job.spec.task for job in state.jobs.values() if not job.state.ended)
    running = Counter((job.spec.task, job.spec.value) for job in state.jobs.values() if job.state is RUNNING)
    for name in (offers.keys() | live.keys()) - state.tasks.keys():
        yield f"Task {name!r} has jobs and no gate."
    for name, gate in state.tasks.items():
        taken = {value: count for (task, value), count in running.items() if task == name}
        if (gate.live, gate.running) != (live[name], sum(taken.values())):
            yield (
                f"Task {name!r} counts {gate.live} live and {gate.running} running jobs, "
                f"and has {live[name]} and {sum(taken.values())}."
            )
        yield from _task_differs(gate, offers.get(name, {}), taken)
    for job in state.jobs.values():
        if job.task is not state.tasks.get(job.spec.task):
            yield f"Job {job.spec.id} refers to another gate than that of task {job.spec.task!r}."


def _task_differs(
    gate: TaskGate, offers: dict[str | None, dict[int, Job]], running: dict[str | None, int]
) -> Iterator[str]:
    shown: dict[int, Job] = dict(offers.get(None, {}))
    width = gate.settings.value_limit
    values = (offers.keys() | running.keys()) - {None}
    for value in values | gate.values.keys():
        assert value is not None
        offered = offers.get(value, {})
        first = min(offered, default=None) if width is None or running.get(value, 0) < width else None
        if first is not None:
            shown[first] = offered[first]
        where = f"value {value!r} of task {gate.name!r}"
        there = gate.values.get(value)
        if there is None or value not in values:
            yield f"The gate of {where} {'is missing' if there is None else 'is left over'}."
            continue
        if there.running != running.get(value, 0):
            yield f"The {where} counts {there.running} running jobs, and has {running.get(value, 0)}."
        if there.shown != first:
            yield f"The {where} is shown at {there.shown}, and should be at {first}."
        yield from _ready_differs(f"of {where}", there.ready, offered)
    yield from _ready_differs(f"of task {gate.name!r}", gate.ready, shown)


def _ready_differs(where: str, ready: ReadySet, expected: dict[int, Job]) -> Iterator[str]:
    yield from _differ(f"The ready set {where}", ready.members, expected)
    held = ready.run[ready.start :]
    if ready.members.keys() - {*held, *ready.rest} or held != sorted(held) or not _is_heap(ready.rest):
        yield f"The order of the ready set {where} is broken."


def _differ(subject: str, stored: Mapping[Any, Any], expected: Mapping[Any, Any]) -> Iterator[str]:
    for name in stored.keys() | expected.keys():
        if stored.get(name) != expected.get(name):
            yield f"{subject} {name} is {_text(stored.get(name))}, and should be {_text(expected.get(name))}."


def _text(value: Any) -> str:
    return f"job {value.spec.id}" if isinstance(value, Job) else str(value)


def _is_heap(heap: list[Any]) -> bool:
    return all(heap[(index - 1) // 2] <= heap[index] for index in range(1, len(heap)))
