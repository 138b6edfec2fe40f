"""What operators do: cancel, requeue, skip, configure, purge."""

from fifoq.queue import Changed, Declare, Override, Pause, Resume, Setting
from fifoq.record import State
from fifoq.testing.model.book import Book, Item


def cancel(book: Book, now: int, id: str, reason: str) -> Changed:
    item = book.item(id)
    if item is None:
        return Changed(None, False)
    if item.state.ended or item.cancel_requested:
        return Changed(item.state, False)
    item.reason = reason
    if item.state is State.RUNNING:
        item.cancel_requested = True
    else:
        book.end(item, State.CANCELLED, now, 0)
    return Changed(item.state, True)


def requeue(book: Book, id: str) -> Changed:
    item = book.item(id)
    if item is None or item.state is not State.FAILED:
        return Changed(item and item.state, False)
    if not item.halted:
        holder = book.holder(item.spec.unique)
        if holder:
            return Changed(State.FAILED, False, holder.spec.id)
        item.seq = book.next_number()
    _as_if_never_tried(item)
    return Changed(State.WAITING, True)


def _as_if_never_tried(item: Item) -> None:
    item.state, item.halted, item.kept_until = State.WAITING, False, None
    item.attempt = item.crashes = 0
    item.error = item.progress = item.worker = item.started_at = item.finished_at = None


def skip(book: Book, now: int, id: str) -> Changed:
    item = book.item(id)
    if item is None or not item.halted:
        return Changed(item and item.state, False)
    item.halted = False
    book.keep(item, now)
    return Changed(State.FAILED, True)


def configure(book: Book, now: int, setting: Setting) -> None:
    match setting:
        case Declare(task, settings):
            book.declared[task] = settings
        case Override(task, settings):
            book.overrides.pop(task, None)
            if settings:
                book.overrides[task] = settings
        case Pause(_, str(key)):
            book.paused_keys.setdefault(key, now)
        case Pause(task, _):
            book.paused.add(task)
        case Resume(_, str(key)):
            book.paused_keys.pop(key, None)
        case Resume(task, _):
            book.paused.discard(task)


def purge(book: Book, now: int, limit: int) -> int:
    over = [item for item in book.items if item.kept_until is not None and item.kept_until <= now]
    removed = sorted(over, key=lambda item: (item.kept_until, item.entry))[:limit]
    for item in removed:
        book.remove(item)
    return len(removed)
