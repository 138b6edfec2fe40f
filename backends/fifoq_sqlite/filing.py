"""Filing: the jobs that were put alone get their places in line, ready set and indexes, all together."""

import json

from fifoq.queue import Receipt
from fifoq_sqlite.book import Book, Unfiled, score
from fifoq_sqlite.replies import encode
from fifoq_sqlite.session import Session


def filed(session: Session, name: str) -> Book | None:
    """The book of a queue, if there is such a queue, with every job filed: what every call but a put of one needs."""
    session.alone = False
    book = session.book(name)
    if book is not None:
        book.plain = False
        if book.unfiled:
            file(session, book)
    return book


def filed_or_made(session: Session, name: str) -> Book:
    """The same, of a queue that is made if there is none."""
    return filed(session, name) or session.make_book(name)


def file(session: Session, book: Book) -> None:
    """File what is not."""
    unfiled, book.unfiled = book.unfiled, {}
    session.tick(book)
    jobs = list(unfiled.values())
    free = free_keys(session, book, {one.key for one in jobs if one.key is not None})
    heads: list[int] = []
    for one in jobs:
        offered = one.key is None or one.key in free
        if one.key is not None and offered:
            free.remove(one.key)
            heads.append(one.job)
        book.enter(one.gate, one.value, score(one.priority, book.entry(one.job)) if offered else None)
    session.change("unfiled_file", (book.id, jobs[0].job, jobs[-1].job, json.dumps(heads)))
    _remember(session, book, unfiled)
    session.woken.add(book.name)


def free_keys(session: Session, book: Book, keys: set[str]) -> set[str]:
    """Those of `keys` that have nobody in line and are not paused: the next job is offered as it comes."""
    if not keys:
        return set()
    (found,) = session.run("lines_free", (book.id, json.dumps(list(keys)))).fetchone()
    return set(json.loads(found))


def _remember(session: Session, book: Book, jobs: dict[str, Unfiled]) -> None:
    """Store the reply of each caller's last put: until now the jobs themselves told it."""
    last: dict[str, tuple[int, list[str]]] = {}
    for id, one in jobs.items():
        known = last.get(one.caller)
        if known is not None and known[0] == one.number:
            known[1].append(id)
        else:
            last[one.caller] = one.number, [id]
    for caller, (number, ids) in last.items():
        reply = tuple((Receipt(id, True),) for id in ids)
        session.run("replies_write", (book.id, "put", caller, number, book.now, encode("put", reply)))
