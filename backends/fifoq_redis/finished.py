"""
Waiting for the ends of jobs in one queue: by notification, or by query.

A put can ask for a notification of its job's end in the same call, which saves the waiter one of its own.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from fifoq.errors import BackendUnavailable, JobNotFound
from fifoq.queue import PutReply
from fifoq.record import Damaged, JobSpec, Record
from fifoq.waiters import JobWaiters
from fifoq_redis import pubsub
from fifoq_redis.encoding import read_record, unpack_raw
from fifoq_redis.keys import Keys
from fifoq_redis.opening import OpenStore

MOST_EXPECTED = 10_000
"""Expected jobs at most. The oldest is dropped beyond: its caller was cancelled before it waited."""


class FinishedWaiters:
    """The waiters for ends of jobs in one queue, on one loop."""

    def __init__(self, store: OpenStore, keys: Keys, name: str) -> None:
        self._store = store
        self._keys = keys
        self._name = name
        self._waiters = JobWaiters()
        self._queries: dict[str, asyncio.Future[Any]] = {}
        self._expected: dict[str, Record | Damaged | bool] = {}
        """By id: whether the put asked for a notification; the record, once it has come."""

    def expect(self, id: str) -> None:
        """Note that a job with this id is about to be put, and its end awaited."""
        self._expected[id] = False
        if len(self._expected) > MOST_EXPECTED:
            del self._expected[next(iter(self._expected))]

    def expected(self, batches: Sequence[Sequence[JobSpec]]) -> list[str]:
        """Return the ids in a put for whose ends it is to ask for a notification."""
        expected = self._expected
        if not expected or not self._store.is_subscribed(self._keys.state):
            return []
        return [spec.id for batch in batches for spec in batch if spec.id in expected]

    def put(self, awaited: Sequence[str], replies: Sequence[PutReply]) -> None:
        """Note the receipts of a put. A job that existed before sends no notification unasked."""
        receipts = {one.id: one.created for reply in replies if type(reply) is tuple for one in reply}
        for id in awaited:
            if not receipts.get(id):
                self._expected.pop(id, None)
            elif self._expected.get(id) is False:
                self._expected[id] = True

    def ended(self, id: str, record: Record | Damaged) -> None:
        """Take the notification of a job's end."""
        if id in self._expected:
            self._expected[id] = record
        self._waiters.give(id, record)

    async def finished(self, id: str, timeout: float) -> Record | Damaged | None:
        """Return the record of a job once it has ended: `fifoq.queue.Queue.finished`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        notified = self._expected.pop(id, False)
        if isinstance(notified, Record | Damaged):
            return notified
        with self._waiters.waiting(id) as waiter:
            if notified and (record := await waiter.within(min(timeout, pubsub.QUERY_AFTER))):
                return record
            # Subscribe before the query, so that an end in between is notified.
            await self._store.subscribe(self._keys.state, min(max(0.0, end - loop.time()), pubsub.QUERY_AFTER))
            while True:
                found = await self._query(id)
                if found is None:
                    raise JobNotFound(id, self._name)
                if found:
                    return read_record(id, found)
                record = await waiter.within(max(0.0, min(end - loop.time(), pubsub.QUERY_AFTER)))
                if record or loop.time() >= end:
                    return record

    async def _query(self, id: str) -> Any:
        """Return the packed record of a job that has ended; False if it has not, None if unknown. One call a turn."""
        query = self._queries.get(id)
        if query is None:
            if not self._queries:
                self._store.spawn(self._query_all())
            query = self._queries[id] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(query)

    async def _query_all(self) -> None:
        queries, self._queries = self._queries, {}
        try:
            replies = unpack_raw(await self._store.caller.call(self._keys, "watch", list(queries), self._store.channel))
        except BaseException as error:
            closed = BackendUnavailable("The backend was closed.")
            for future in queries.values():
                future.set_exception(error if isinstance(error, Exception) else closed)
                future.exception()  # its waiters may have been cancelled
            if not isinstance(error, Exception):
                raise
            return
        for future, reply in zip(queries.values(), replies, strict=True):
            future.set_result(reply)
