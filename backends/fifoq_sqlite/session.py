"""
One connection, as the code within its thread sees it: transactions, the store's time, and the books.

A book is kept from one transaction to the next. `PRAGMA data_version` tells, once the write lock is held, whether any
other connection has committed since; only then is it read again.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from fifoq.clock import Clock, run_on
from fifoq.limits import GateSettings
from fifoq_sqlite.book import Book, Gate
from fifoq_sqlite.schema import check_migration
from fifoq_sqlite.statements import load

Row = tuple[Any, ...]


class Session:
    """A connection between `begin` and `commit` or `roll_back`."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self.connection = connection
        self.now = 0
        """The time of the transaction. Zero: no call has asked for it yet."""
        self.woken: set[str] = set()
        """Queues in which something may have become claimable."""
        self.ended: list[tuple[str, str]] = []
        """(queue, id) of the jobs that ended or were removed."""
        self.changes = False
        """Whether there is anything to commit."""
        self.generation = 0
        """Counts how often what was read has been forgotten."""
        self._clock = clock
        self._last = self._ahead = 0
        self._version = -1
        self._books: dict[str, Book] = {}

    # ---- transactions

    def begin(self, mode: str = "IMMEDIATE") -> None:
        """Take the write lock, or with `DEFERRED` look at one instant; read again what others have changed."""
        self.connection.execute(f"BEGIN {mode}")
        self.now = 0
        self.changes = False
        self.woken, self.ended = set(), []
        (version,) = self.connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._read_store()
            self._version = version

    def write(self) -> None:
        """Write the time, and the books as far as they have changed."""
        for book in self._books.values():
            self._write(book)
        self.run("store_write", (self._last, self._ahead))

    def commit(self) -> None:
        self.connection.execute("COMMIT")

    def roll_back(self) -> None:
        """Undo the transaction, and forget all that was read."""
        self._version = -1
        self._books.clear()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def tick(self) -> int:
        """The store's time, the same for all calls of one transaction."""
        if not self.now:
            self._last, self._ahead = run_on(self._clock.now(), self._last, self._ahead)
            self.now = self._last
        return self.now

    # ---- statements

    def run(self, name: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self.connection.execute(load(name), parameters)

    def change(self, name: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        self.changes = True
        return self.connection.execute(load(name), parameters)

    def change_many(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        self.changes = True
        self.connection.executemany(load(name), rows)

    # ---- books

    def book(self, name: str) -> Book | None:
        """The book of a queue, if there is such a queue."""
        book = self._books.get(name)
        if book is None:
            row = self.run("queue_read", (name,)).fetchone()
            if row is None:
                return None
            book = self._books[name] = self._read_book(name, row)
        return book

    def make_book(self, name: str) -> Book:
        """The book of a queue, which is made if there is none."""
        book = self.book(name)
        if book is None:
            self.change("queue_make", (name,))
            book = self.book(name)
            assert book is not None
            self.make_gate(book, "")
        return book

    def make_gate(self, book: Book, task: str) -> Gate:
        """The gate of a task, or the queue's own (''), which is made if there is none."""
        gate = book.tasks.get(task) if task else (book.own if book.own.id else None)
        if gate is None:
            made = self.change("gate_make", (book.id, task)).lastrowid
            assert made is not None
            gate = book.add(Gate(made, task))
        return gate

    def _read_store(self) -> None:
        self._books.clear()
        self.generation += 1
        migration, made_by, last, ahead, _ = self.run("store_read").fetchone()
        check_migration(migration, made_by)
        # What this process has seen of time counts too: a claim that found nothing wrote nothing.
        if last >= self._last:
            self._last, self._ahead = last, ahead

    def _read_book(self, name: str, row: Row) -> Book:
        book = Book(name, row)
        for gate in self.run("gates_read", (book.id,)):
            book.add(Gate(*gate))
        for gate, override, *settings in self.run("settings_read", (book.id,)):
            setattr(book.by_id[gate], "override" if override else "declared", GateSettings(*settings))
        return book

    def _write(self, book: Book) -> None:
        self.show(book)
        if book.changed:
            self.connection.executemany(load("gate_write"), [gate.row() for gate in book.changed])
            book.changed.clear()
        if (row := book.row()) != book.written:
            self.connection.execute(load("queue_write"), row)
            book.written = row

    def show(self, book: Book) -> None:
        """Bring the heads of what was touched up to date, values before tasks."""
        for gate, values in book.touched.items():
            changes = json.dumps(list(values.items()))
            self.change("values_show", (gate.id, gate.value_limit, changes))
            self.change("values_drop", (gate.id, changes))
        book.touched.clear()
        for gate in book.changed:
            if gate.stale and gate is not book.own:
                heads = self.run("gate_head", (gate.id,)).fetchone()
                gate.head = min((head for head in heads if head is not None), default=None)
                gate.stale = False
