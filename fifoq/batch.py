"""Several calls put as one: all of them enter, in order, or none."""

from collections.abc import Sequence
from typing import TypeVar

from fifoq.connection import Connection
from fifoq.errors import InvalidArguments
from fifoq.handle import JobHandle
from fifoq.task import NewJob

R = TypeVar("R")


async def put_batch(connection: Connection, jobs: Sequence[NewJob[R]]) -> list[JobHandle[R]]:
    """Put bound calls of one queue as one batch; see `Fifoq.enqueue_many`."""
    if not jobs:
        return []
    queues = {job.origin.queue for job in jobs}
    if len(queues) > 1:
        raise InvalidArguments(
            f"A batch is of one queue, because it enters as a whole; these are of {', '.join(sorted(queues))}. "
            "Enqueue one batch per queue."
        )
    foreign = next((job for job in jobs if job.origin.connection is not connection), None)
    if foreign is not None:
        raise InvalidArguments(f"Task {foreign.origin.task!r} belongs to another Fifoq. Enqueue its calls there.")
    wait = max(job.wait for job in jobs)
    receipts = await connection.intake(queues.pop()).put([job.spec() for job in jobs], wait)
    return [JobHandle(job.origin, receipt.id, receipt.created) for job, receipt in zip(jobs, receipts, strict=True)]
