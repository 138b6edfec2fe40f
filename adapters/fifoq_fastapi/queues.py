"""What the routes of queues and keys do: counts, pause, resume, which keys are blocked."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Response

from fifoq_fastapi import schemas
from fifoq_fastapi.access import Access, shown_id
from fifoq_fastapi.counter import Counter
from fifoq_fastapi.jobs import as_json
from fifoq_fastapi.parameters import CURSOR, LIMIT, QUEUE_NAME, Endpoint, declared, name_filter, owner_of
from fifoq_fastapi.schemas import blocked_key_of


class QueueRoutes:
    """The endpoints of queues and keys. Queues belong to no owner: a router with owners has `blocked_keys` only."""

    def __init__(self, counter: Counter, access: Access) -> None:
        self._counter = counter
        self._tasks = counter.tasks
        self._reads = owner_of(access, "fifoq:read")
        self._writes = owner_of(access, "fifoq:write")

    def all(self) -> Endpoint:
        """Every queue, with the counts of its jobs."""

        async def list_queues(owner: str | None) -> Response:
            stats = await self._tasks.stats()
            queues = [schemas.Queue(name=name, **counts._asdict()) for name, counts in stats.items()]
            return as_json(schemas.Queues(queues=queues))

        return declared(list_queues, owner=self._reads)

    def pause(self) -> Endpoint:
        """Begin nothing of a queue, a task or a key."""
        return self._switch(self._tasks.pause)

    def resume(self) -> Endpoint:
        """Lift a pause."""
        return self._switch(self._tasks.resume)

    def _switch(self, switch: Callable[..., Awaitable[None]]) -> Endpoint:
        async def switch_queue(name: str, owner: str | None, **part: Any) -> Response:
            self._counter.check_queue(name)
            await switch(name, **part)
            return Response(status_code=204)

        return declared(
            switch_queue,
            name=QUEUE_NAME,
            owner=self._writes,
            task=name_filter("Only this task of the queue."),
            key=name_filter("Only this ordering key of the queue."),
        )

    def blocked_keys(self) -> Endpoint:
        """The keys that are halted, paused or backing off."""

        async def list_blocked_keys(owner: str | None, queue: str | None, cursor: str | None, limit: int) -> Response:
            page = await self._counter.blocked_keys(queue, cursor, limit, owner)
            keys = [blocked_key_of(key, key.job_id and shown_id(owner, key.job_id)) for key in page.keys]
            return as_json(schemas.KeyPage(keys=keys, cursor=page.cursor))

        return declared(
            list_blocked_keys, owner=self._reads, queue=name_filter("Only of this queue."), cursor=CURSOR, limit=LIMIT
        )
