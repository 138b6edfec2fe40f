"""
How a backend hears of the ends of jobs in one queue: told in its channel, or asked for.

Of a job that is put to be waited for, the put itself says where to tell of its end: that saves the waiter a call.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from fifoq.errors import BackendUnavailable, JobNotFound
from fifoq.queue import PutReply
from fifoq.record import JobSpec, Record
from fifoq.waiters import JobWaiters
from fifoq_redis.claims import Watch
from fifoq_redis.encoding import read_record, unpack
from fifoq_redis.keys import Keys
from fifoq_redis.opening import Store

MOST_EXPECTED = 10_000
"""Jobs. Beyond it the oldest is forgotten: whoever expected it was cancelled before he came."""


class Ends:
    """Those who wait for ends in one queue, on one loop."""

    def __init__(self, store: Store, keys: Keys, name: str) -> None:
        self._store = store
        self._keys = keys
        self._name = name
        self._rings = JobWaiters()
        self._asked: dict[str, asyncio.Future[Any]] = {}
        self._expected: dict[str, Record | bool] = {}
        """Whether the store was told, with the put, to tell of this end; the record, if it has."""

    def expect(self, id: str) -> None:
        """A job with this id is about to be put, to be waited for."""
        self._expected[id] = False
        if len(self._expected) > MOST_EXPECTED:
            del self._expected[next(iter(self._expected))]

    def among(self, batches: Sequence[Sequence[JobSpec]]) -> list[str]:
        """The ids of those whose ends the store is to tell here, as they are put."""
        expected = self._expected
        if not expected or not self._store.hears(self._keys):
            return []
        return [spec.id for batch in batches for spec in batch if spec.id in expected]

    def put(self, watched: Sequence[str], replies: Sequence[PutReply]) -> None:
        """They were put. Of a job that was there before, nothing will be told unasked."""
        receipts = {one.id: one.created for reply in replies if type(reply) is tuple for one in reply}
        for id in watched:
            if not receipts.get(id):
                self._expected.pop(id, None)
            elif self._expected.get(id) is False:
                self._expected[id] = True

    def ended(self, id: str, record: Record) -> None:
        """It was told."""
        if id in self._expected:
            self._expected[id] = record
        self._rings.give(id, record)

    async def finished(self, id: str, timeout: float) -> Record | None:
        """The record of a job once it has ended: `fifoq.queue.Queue.finished`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        told = self._expected.pop(id, False)
        if isinstance(told, Record):
            return told
        with self._rings.waiting(id) as ring:
            if told and (record := await ring.within(min(timeout, Watch.floor))):
                return record
            # Listen before looking: what ends in between is heard of.
            await self._store.hear(self._keys, min(max(0.0, end - loop.time()), Watch.floor))
            while True:
                found = await self._ask(id)
                if found is None:
                    raise JobNotFound(id, self._name)
                if found:
                    return read_record(found)
                record = await ring.within(max(0.0, min(end - loop.time(), Watch.floor)))
                if record or loop.time() >= end:
                    return record

    def forget(self) -> None:
        """The backend was closed."""
        self._asked.clear()
        self._expected.clear()

    async def _ask(self, id: str) -> Any:
        """The record of a job if it has ended, False if not yet, None if there is none. Asked together in a turn."""
        asked = self._asked.get(id)
        if asked is None:
            if not self._asked:
                self._store.spawn(self._ask_all())
            asked = self._asked[id] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(asked)

    async def _ask_all(self) -> None:
        asked, self._asked = self._asked, {}
        try:
            replies = unpack(await self._store.run(self._keys, "watch", list(asked), self._store.channel))
        except BaseException as error:
            closed = BackendUnavailable("The backend was closed.")
            for future in asked.values():
                future.set_exception(error if isinstance(error, Exception) else closed)
                future.exception()  # those who waited may be gone
            if not isinstance(error, Exception):
                raise
            return
        for future, reply in zip(asked.values(), replies, strict=True):
            future.set_result(reply)
