"""Audit: all derived columns, counts and heads are recomputed from the jobs, and the differences returned."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, get_args

from fifoq.queue import Audit
from fifoq.record import Damaged, State
from fifoq_sqlite.damage import id_of
from fifoq_sqlite.operations import get
from fifoq_sqlite.queue_state import COUNTED, LAST_ENTRY, STATES, QueueState, score_of
from fifoq_sqlite.session import Session

MAX_DIFFERENCES = 100
"""Differences that are returned at most, beside the damaged jobs."""
PAGE = 1_000
"""Jobs whose records are read by one statement."""


class StoredJob(NamedTuple):
    """A row of `audit_jobs`: the derived columns of a job, and those from which they are derived."""

    job: int
    id: str
    gate: int
    key: str | None
    value: str | None
    priority: int
    code: int
    seq: int | None
    line: int | None
    ready: int | None
    at: int | None
    since: int | None
    held: str | None
    kept_until: int | None
    due_at: int | None
    expires_at: int | None
    unique: str | None
    token: str | None
    halted: int
    finished_at: int | None

    @property
    def state(self) -> State:
        return STATES[self.code]

    @property
    def live(self) -> bool:
        return self.state in (State.WAITING, State.RUNNING) or bool(self.halted)


_TYPES: dict[str, tuple[type, ...]] = {
    name: get_args(kind) or (kind,) for name, kind in StoredJob.__annotations__.items()
}

ValueKey = tuple[int, str]
"""A gate and a value of its task."""


def audit(session: Session, state: QueueState) -> Audit:
    """Audit all jobs, gates and values of the queue."""
    rows = session.rows("audit_jobs", (state.id,))
    damaged = [*_damaged(session, state, rows)]
    jobs = [StoredJob(*row) for row, *_ in map(_split, rows) if _is_readable(state, row)]
    paused = {key for (key,) in session.rows("audit_paused_keys", (state.id,))}
    values = {(gate, value): numbers for gate, value, *numbers in session.rows("audit_values", (state.id,))}
    found = [*_pages(session), *_jobs(jobs, paused), *_numbers(state, jobs), *_gates(state, jobs, values)]
    return Audit((*damaged, *found[:MAX_DIFFERENCES]), len(rows))


def _split(row: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """Return the columns of a StoredJob, and the job's queue."""
    return row[:-1], row[-1]


def _is_readable(state: QueueState, row: tuple[Any, ...]) -> bool:
    """Whether all columns are of the types of a StoredJob: else nothing can be derived from them."""
    job = StoredJob(*row)
    return (
        all(type(value) in _TYPES[name] for name, value in zip(StoredJob._fields, row, strict=True))
        and job.gate in state.by_id
        and 0 <= job.code < len(STATES)
        and all(0 <= (number or 0) <= 1 << 61 for number in (job.seq, job.at, job.due_at, job.expires_at))
        and -9 <= job.priority <= 9
    )


def _damaged(session: Session, state: QueueState, rows: Sequence[tuple[Any, ...]]) -> Iterator[str]:
    """Yield the jobs whose records cannot be read."""
    for first in range(0, len(rows), PAGE):
        some = rows[first : first + PAGE]
        found = get(session, state, [id_of(row[0], row[1]) for row in some])
        for (row, queue), record in zip(map(_split, some), found, strict=True):
            if isinstance(record, Damaged):
                yield f"Job {record.id} is damaged: {record.reason}."
            elif record is None or queue != state.id or not _is_readable(state, row):
                yield f"Job {id_of(row[0], row[1])} is damaged: a column of its row is of another type."


def _pages(session: Session) -> Iterator[str]:
    """Yield the errors that SQLite finds in its own structures, indexes among them."""
    for (text,) in session.connection.execute("PRAGMA integrity_check(10)"):
        if text != "ok":
            yield f"the file: {text}"


def _jobs(jobs: Iterable[StoredJob], paused: set[str]) -> Iterator[str]:
    """Yield the wrong columns of the jobs: those that their states and lines decide."""
    jobs = list(jobs)
    heads: dict[str, int] = {}
    for job in jobs:
        if job.key is not None and job.live and job.seq is not None:
            heads[job.key] = min(heads.get(job.key, job.seq), job.seq)
    for job in jobs:
        offered = (
            job.state is State.WAITING
            and job.due_at is None
            and (job.key is None or (job.key not in paused and heads[job.key] == job.seq))
        )
        for name, right in _derived(job, offered=offered).items():
            stored: Any = getattr(job, name)
            if stored != right:
                yield f"job {job.id}: {name} is {stored}, and should be {right}"


def _derived(job: StoredJob, *, offered: bool) -> dict[str, Any]:
    """Return the derived columns of a job, recomputed."""
    keyed = job.key is not None and job.live
    waits = job.state in (State.SCHEDULED, State.WAITING)
    running = job.state is State.RUNNING
    timers = [time for time in (job.due_at, job.expires_at) if time is not None]
    right: dict[str, Any] = {
        "line": job.seq if keyed else None,
        "ready": score_of(job.priority, job.seq or 0) if offered else None,
        "held": job.unique if job.live or waits else None,
        "at": (job.at or "a time") if running else min(timers, default=None) if waits else None,
        "token": (job.token or "a token") if running else None,
    }
    if not keyed or (job.due_at is None and not job.halted):
        right["since"] = None
    if not job.state.ended or job.halted:
        right["kept_until"] = None
    elif job.kept_until is None:
        right["kept_until"] = "a time"
    if keyed and job.since is None and (job.due_at is not None or job.halted):
        right["since"] = "a time"
    return right


def _numbers(state: QueueState, jobs: list[StoredJob]) -> Iterator[str]:
    counted = Counter(job.state for job in jobs)
    for job_state, stored in state.counts.items():
        if stored != counted[job_state]:
            yield f"the count of {job_state} jobs is {stored}, and should be {counted[job_state]}"
    last = max((max(job.job & LAST_ENTRY, job.seq or 0) for job in jobs), default=0)
    if last > state.counter:
        yield f"the counter is {state.counter}, and a job has {last}"


def _gates(state: QueueState, jobs: list[StoredJob], values: dict[ValueKey, list[int | None]]) -> Iterator[str]:
    live = Counter(job.gate for job in jobs if job.state in COUNTED)
    running = Counter(job.gate for job in jobs if job.state is State.RUNNING)
    for gate in (state.own_gate, *state.tasks.values()):
        own = gate is state.own_gate
        right = (live.total(), running.total()) if own else (live[gate.id], running[gate.id])
        if (gate.live, gate.running) != right:
            name = f"task {gate.task!r}" if gate.task else "the queue"
            yield f"live and running of {name} are {(gate.live, gate.running)}, and should be {right}"
    offers, shown = _offers(state, jobs)
    for value_key in {*values, *shown}:
        stored, wanted = values.get(value_key), shown.get(value_key)
        if stored != wanted:
            task = state.by_id[value_key[0]].task
            yield f"running and head of value {value_key[1]!r} of task {task!r} are {stored}, and should be {wanted}"
    for gate in state.tasks.values():
        if gate.head != offers.get(gate.id):
            yield f"the head of task {gate.task!r} is {gate.head}, and should be {offers.get(gate.id)}"


def _offers(state: QueueState, jobs: list[StoredJob]) -> tuple[dict[int, int], dict[ValueKey, list[int | None]]]:
    """Return the head of each task, and [running, head] of each value, recomputed."""
    offers: dict[int, int] = {}
    shown: dict[ValueKey, list[int | None]] = {}
    running = Counter((job.gate, job.value) for job in jobs if job.state is State.RUNNING)
    for job in jobs:
        if job.value is not None and (job.ready is not None or job.state is State.RUNNING):
            shown.setdefault((job.gate, job.value), [running[job.gate, job.value], None])
    for job in jobs:
        if job.ready is None:
            continue
        if job.value is not None:
            if running[job.gate, job.value] >= state.by_id[job.gate].value_limit:
                continue
            value = shown[job.gate, job.value]
            value[1] = min(value[1] or job.ready, job.ready)
        offers[job.gate] = min(offers.get(job.gate, job.ready), job.ready)
    return offers, shown
