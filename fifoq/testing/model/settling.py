"""How a lease is held and how it ends: extend and settle."""

from fifoq.record import Cancel, Extension, Fail, Hold, Outcome, Release, Retry, Settlement, State, Succeed
from fifoq.testing.model.book import Book, Item


def extend(book: Book, now: int, extension: Extension) -> Hold:
    """One heartbeat."""
    item = _held(book, extension.id, extension.token)
    if item is None:
        return Hold.LOST
    item.lease_end = now + extension.lease
    if extension.progress is not None:
        item.progress = extension.progress
    return Hold.CANCEL if item.cancel_requested else Hold.HELD


def settle(book: Book, now: int, settlement: Settlement) -> State | None:
    """End one lease."""
    item = _held(book, settlement.id, settlement.token)
    if item is None:
        return None
    _apply(book, now, item, settlement.outcome)
    return item.state


def _held(book: Book, id: str, token: str) -> Item | None:
    """The job, if the token is still its own."""
    item = book.item(id)
    return item if item and item.token == token else None


def _apply(book: Book, now: int, item: Item, outcome: Outcome) -> None:
    match outcome:
        case Succeed(result, retain):
            item.result, item.error, item.reason = result, None, None
            book.end(item, State.SUCCEEDED, now, retain)
        case Fail(error, halt, retain):
            item.error, item.reason = error, None
            item.halted = halt and item.spec.key is not None
            book.end(item, State.FAILED, now, retain)
        case Cancel(reason, retain):
            item.reason = item.reason if item.cancel_requested else reason
            book.end(item, State.CANCELLED, now, retain)
        case Retry(after, error, retain):
            item.error = error
            _put_back(book, now, item, after, retain)
        case Release(after, retain):
            item.attempt -= 1
            _put_back(book, now, item, after, retain)


def _put_back(book: Book, now: int, item: Item, after: int, retain: int) -> None:
    """To its place, or, if it was asked to cancel, to its end."""
    if item.cancel_requested:
        book.end(item, State.CANCELLED, now, retain)
        return
    item.state, item.token = State.WAITING, None
    item.due_at = now + after if after > 0 else None
    item.held_since = now
