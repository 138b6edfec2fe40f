"""What time alone does to jobs."""

from fifoq.queue import MAX_TIMERS
from fifoq.record import State
from fifoq.testing.model.book import Book, Item


def fire(book: Book, now: int, at_most: int = MAX_TIMERS) -> None:
    """Fire the timers that are due, by (time, entry), at most so many."""
    due = [(item.timer, item.entry, item) for item in book.items if item.timer is not None and item.timer <= now]
    for _, _, item in sorted(due, key=lambda one: one[:2])[:at_most]:
        _fire(book, now, item)


def _fire(book: Book, now: int, item: Item) -> None:
    if item.state is State.RUNNING:
        _end_lease(book, now, item)
    elif item.expires_at is not None and item.expires_at <= now:
        item.reason = "expired"
        book.end(item, State.CANCELLED, now, 0)
    else:
        item.due_at = None
        if item.state is State.SCHEDULED:
            item.state, item.seq = State.WAITING, book.next_number()


def _end_lease(book: Book, now: int, item: Item) -> None:
    item.crashes += 1
    item.token = None
    if item.cancel_requested:
        book.end(item, State.CANCELLED, now, 0)
    else:
        item.state = State.WAITING
