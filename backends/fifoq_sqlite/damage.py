"""
Damaged rows of jobs: their wrong columns are replaced, so that a worker can claim and settle such a job.

SQLite stores any value in any column. A row with a value of another type would make each statement fail that reads it
together with others. `mend` gives its columns values that all statements can use, and notes the damage in `delay`, as a
text: that column is not used after the put, and a job with such a note is never run.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from fifoq.queue import MAX_PAGE
from fifoq.record import LARGEST, Damaged, State
from fifoq_sqlite.queue_state import CODE, LAST_ENTRY, STATES, Gate, QueueState, score_of
from fifoq_sqlite.session import Session

Row = tuple[Any, ...]

_MENDED = "its {} was of another type, out of its range or missing"
_NUMBERS = ("priority", "retain", "in_line", "attempt", "crashes", "cancel_requested", "halted", "kept")
_NUMBERS_OR_NOTHING = (
    *("line", "ready", "at", "since", "kept_until", "due_at", "expires_at", "expires", "started_at", "finished_at"),
)
_TEXTS_OR_NOTHING = ("key", "value", "held", "owner", "unique", "token", "worker", "reason")
COLUMNS = (
    *("queue", "id", "gate", "state", "seq", "created_at"),
    *(*_NUMBERS, *_NUMBERS_OR_NOTHING, *_TEXTS_OR_NOTHING, "delay"),
)
"""The columns that are mended, in the order of the statements `job_columns` and `job_mend`."""


def is_text(value: object) -> bool:
    return type(value) is str


def is_text_or_nothing(value: object) -> bool:
    return value is None or type(value) is str


def is_number(value: object) -> bool:
    return type(value) is int and -LARGEST <= value <= LARGEST


def is_score(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def is_number_or_nothing(value: object) -> bool:
    return value is None or is_score(value)


def damage_of(state: QueueState, job: int, id: object, delay: object, reason: str) -> Damaged:
    """Return the damage of a job: the note in its row, or else `reason`."""
    return Damaged(id_of(job, id), job & LAST_ENTRY, delay if isinstance(delay, str) else reason)


def id_of(job: int, id: object) -> str:
    """Return the id of a job: one in its place if the stored one is no text."""
    return id if isinstance(id, str) else f"damaged-{job & LAST_ENTRY}"


def search(session: Session, state: QueueState) -> list[int]:
    """Return the damaged ones of the next `MAX_PAGE` jobs of the queue, after the last one at the next call."""
    last = state.job(LAST_ENTRY)
    found = session.rows("jobs_columns", (max(state.searched, state.job(0)), last, MAX_PAGE))
    state.searched = found[-1][-1] if len(found) == MAX_PAGE else 0
    return [job for *columns, job in found if wrong_columns(state, dict(zip(COLUMNS, columns, strict=True)), job)]


def wrong_columns(state: QueueState, row: dict[str, Any], job: int) -> dict[str, Any]:
    """Return the columns of a row that are of another type, out of range or missing, with their replacements."""
    wrong: dict[str, Any] = {}

    def check(names: Sequence[str], is_right: Callable[[Any], bool], default: Any) -> None:
        wrong.update((name, default) for name in names if not is_right(row[name]))

    check(["queue"], lambda value: value == state.id, state.id)
    check(["id"], is_text, id_of(job, None))
    check(["gate"], lambda value: value in state.by_id and state.by_id[value].task != "", None)
    check(["seq"], is_number_or_nothing, job & LAST_ENTRY)
    check(["created_at"], is_score, state.now)
    check(_NUMBERS, is_number, 0)
    check(["priority"], lambda value: is_number(value) and abs(value) <= 9, 0)
    check(_NUMBERS_OR_NOTHING, is_number_or_nothing, None)
    check(_TEXTS_OR_NOTHING, is_text_or_nothing, None)
    check(["state"], lambda value: type(value) is int and 0 <= value <= 5, None)
    if wrong:
        return wrong
    now = STATES[cast("int", row["state"])]
    if now is State.RUNNING:
        check(["at"], is_score, state.now)
        check(["token"], is_text, "")
    elif now is State.SCHEDULED or (now is State.WAITING and row["due_at"] is not None):
        check(["at"], is_score, state.now)
    live = now in (State.WAITING, State.RUNNING) or bool(row["halted"])
    check(["line"], lambda line: (line is not None) == (live and row["key"] is not None), None)
    if live:
        check(["seq"], is_score, job & LAST_ENTRY)
    return wrong


def mend(session: Session, state: QueueState, job: int) -> None:
    """Replace the wrong columns of a job's row. The queue is as it would be if they had been so before."""
    (found,) = session.rows("job_columns", (job,))
    row = dict(zip(COLUMNS, found, strict=True))
    wrong = wrong_columns(state, row, job)
    row |= wrong
    if row["state"] is None:
        row["state"] = CODE[_state_of(row)]
    if row["gate"] is None:
        row["gate"] = _gate_with_more(session, state).id
    if not isinstance(row["delay"], str):
        row["delay"] = _MENDED.format(" and ".join(wrong) or "content")
    _derive(state, row, job)
    session.change("job_mend", (*(row[name] for name in COLUMNS), job))
    gate = state.by_id[row["gate"]]
    gate.used = True
    if "value" in wrong:
        session.change("values_recount", (gate.id, state.job(0), state.job(LAST_ENTRY)))
        session.change("values_widen", (gate.id, gate.value_limit))
    state.touch(gate, row["value"])
    session.woken.add(state.name)


def _state_of(row: dict[str, Any]) -> State:
    if row["token"] is not None:
        return State.RUNNING
    if row["finished_at"] is not None:
        return State.FAILED if row["halted"] else State.SUCCEEDED
    return State.WAITING if row["seq"] is not None else State.SCHEDULED


def _gate_with_more(session: Session, state: QueueState) -> Gate:
    """Return the gate of the task that counts more live jobs than name it; O(n)."""
    counted = dict(session.rows("gates_live", (state.job(0), state.job(LAST_ENTRY))))
    tasks = list(state.tasks.values())
    return next((gate for gate in tasks if gate.live > counted.get(gate.id, 0)), tasks[0] if tasks else state.own_gate)


def _derive(state: QueueState, row: dict[str, Any], job: int) -> None:
    """Set the columns that follow from others."""
    now = STATES[cast("int", row["state"])]
    live = now in (State.WAITING, State.RUNNING) or bool(row["halted"])
    if live and row["seq"] is None:
        row["seq"] = job & LAST_ENTRY
    row["line"] = row["seq"] if live and row["key"] is not None else None
    if now.ended:
        row["kept_until"] = None if row["halted"] else row["kept_until"] or state.now
        row["finished_at"] = row["finished_at"] or state.now
        row["at"] = row["ready"] = None
        return
    if now is State.RUNNING:
        row["at"], row["ready"] = row["at"] or state.now, None
        row["token"] = row["token"] or ""
    else:
        # It waits for nothing but its turn: a worker sets it aside.
        row["due_at"] = row["expires_at"] = row["since"] = row["at"] = None
        if now is State.SCHEDULED:
            row["at"] = row["due_at"] = state.now
        # A job with a key is offered by `offer_heads`.
        row["ready"] = score_of(row["priority"], row["seq"]) if now is State.WAITING and row["key"] is None else None
    if row["at"] is not None:
        state.add_timer(row["at"])
