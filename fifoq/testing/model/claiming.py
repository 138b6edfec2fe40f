"""Which job may run next, and its lease: claim, and what time will make claimable."""

from collections.abc import Collection
from copy import deepcopy
from itertools import chain

from fifoq.queue import Call
from fifoq.record import Lease, State
from fifoq.testing.model.book import Book, Item
from fifoq.testing.model.timing import fire


def score(item: Item) -> int:
    """The order in which claimable jobs go: the smallest first."""
    return (9 - item.spec.priority) * 2**48 + item.place


def offered(book: Book, item: Item) -> bool:
    """Whether only a gate can keep it from running."""
    if item.state is not State.WAITING or item.due_at is not None:
        return False
    key = item.spec.key
    return key is None or (key not in book.paused_keys and book.head(key) is item)


def is_open(book: Book, now: int, task: str | None) -> bool:
    """Whether a queue's (None) or a task's gate lets one more through."""
    limit = book.settings(task).limit
    has_slot = limit is None or len(book.running(task)) < limit
    return task not in book.paused and has_slot and token_in(book, now, task) == 0


def has_value_slot(book: Book, item: Item) -> bool:
    """Whether the gate of the job's value, if it has one, lets one more through."""
    limit = book.settings(item.spec.task).value_limit
    if limit is None or item.spec.value is None:
        return True
    return sum(other.spec.value == item.spec.value for other in book.running(item.spec.task)) < limit


def token_in(book: Book, now: int, task: str | None) -> int:
    """Microseconds until the gate's rate has a token: 0 if it has one, or no rate."""
    settings = book.settings(task)
    if settings.interval is None:
        return 0
    return max(0, book.tat.get(task, now) - now - (settings.burst - 1) * settings.interval)


def claimable(book: Book, now: int, tasks: Collection[str]) -> list[Item]:
    """All jobs of these tasks that may run now."""
    if not is_open(book, now, None):
        return []
    doors = {task for task in tasks if is_open(book, now, task)}
    of_tasks = (item for item in book.items if item.spec.task in doors)
    return [item for item in of_tasks if offered(book, item) and has_value_slot(book, item)]


def claim_one(book: Book, now: int, call: Call, worker: str, lease: int, tasks: Collection[str]) -> Lease | None:
    """Lease the best claimable job, if there is any."""
    item = min(claimable(book, now, tasks), key=score, default=None)
    if item is None:
        return None
    for task in (None, item.spec.task):
        _take_token(book, now, task)
    book.fence += 1
    item.token = f"{call.caller}.{call.number}.{book.fence}"
    item.state, item.worker, item.started_at, item.lease_end = State.RUNNING, worker, now, now + lease
    item.attempt += 1
    item.due_at = item.expires_at = item.progress = None
    return Lease(
        item.spec, item.token, book.fence, item.entry, item.place, item.attempt, item.crashes, item.created_at, now
    )


def _take_token(book: Book, now: int, task: str | None) -> None:
    interval = book.settings(task).interval
    if interval is not None:
        book.tat[task] = max(book.tat.get(task, now), now) + interval


def moments(book: Book, now: int) -> list[int]:
    """Microseconds until each change that time brings: timers, and tokens of empty buckets. Ascending."""
    timers = (max(0, item.timer - now) for item in book.items if item.timer is not None)
    tokens = (token_in(book, now, task) for task in chain(book.declared, book.overrides))
    return sorted({*timers, *(tokens_in for tokens_in in tokens if tokens_in > 0)})


def soonest(book: Book, now: int, tasks: Collection[str]) -> int | None:
    """Microseconds until time alone makes another job of these tasks claimable, exactly: found by trying."""
    before = {item.entry for item in claimable(book, now, tasks)}
    for moment in moments(book, now):
        later = deepcopy(book)
        fire(later, now + moment, at_most=len(later.items))
        if {item.entry for item in claimable(later, now + moment, tasks)} - before:
            return moment
    return None
