"""What tasks and handles know of the Fifoq they belong to: a way to its queues, and a way there from other threads."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from fifoq.queue import Queue, Receipt
from fifoq.record import JobSpec

R = TypeVar("R")


class Intake(Protocol):
    """Takes batches of one queue, in the order of the calls."""

    def expect(self, id: str) -> None:
        """A job with this id is about to be put, and to be waited for."""
        ...

    async def put(self, batch: Sequence[JobSpec], wait: float = 0.0) -> tuple[Receipt, ...]:
        """
        Put the batch, waiting up to `wait` seconds for room.

        Raises QueueFull, IdConflict, and what the backend raises once its patience is spent.
        """
        ...


class Connection(Protocol):
    """The way from a task to its queue. Both raise ConfigurationError if the Fifoq is not open on this loop."""

    def intake(self, queue: str) -> Intake:
        """Return where jobs of that queue are put."""
        ...

    def queue(self, name: str) -> Queue:
        """Return the queue itself, to look and to operate."""
        ...

    def run(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run `work()` on the loop of the Fifoq and return what it returns. Raises on that loop's own thread."""
        ...
