"""What the reading thread does: one batch of looks, each at the same instant. It takes no lock."""

import sqlite3

from fifoq.clock import Clock
from fifoq.errors import FifoqError
from fifoq_sqlite.faults import named
from fifoq_sqlite.lane import Batch, Done
from fifoq_sqlite.location import Location
from fifoq_sqlite.session import Session


class Reader:
    """Runs batches on a connection that only reads."""

    def __init__(self, location: Location, clock: Clock) -> None:
        self._location = location
        self._clock = clock
        self._session: Session | None = None

    def serve(self, batch: Batch, done: Done, connection: sqlite3.Connection) -> None:
        """See `fifoq_sqlite.lane.Serve`."""
        if batch.decide():
            self._run(batch, connection)
        done(None)

    def _run(self, batch: Batch, connection: sqlite3.Connection) -> None:
        session = self._session = self._session or Session(connection, self._clock)
        try:
            session.begin("DEFERRED")
            for ticket in batch.tickets:
                try:
                    ticket.value = ticket.work(session)
                except FifoqError as error:
                    ticket.error = error
            session.commit()
        except Exception as error:
            session.roll_back()
            batch.fail(named(error, self._location.path, self._location.timeout) or error)
