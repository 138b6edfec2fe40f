"""Wrappers of a backend and its queues: they watch calls for the history checker, and plant faults."""

from collections.abc import Callable
from typing import Any

from fifoq.queue import Backend, Queue


class WrappedBackend:
    """
    A backend that returns `wrap(queue)` for each of its queues, always the same one; its other methods are the store's.

        WrappedBackend(memory, IgnoresKeys)
    """

    def __init__(self, backend: Backend, wrap: Callable[[Queue], Any]) -> None:
        self._backend = backend
        self._wrap = wrap
        self._queues: dict[str, Any] = {}

    def queue(self, name: str) -> Any:
        if name not in self._queues:
            self._queues[name] = self._wrap(self._backend.queue(name))
        return self._queues[name]

    def twin(self) -> "WrappedBackend":
        return WrappedBackend(self._backend.twin(), self._wrap)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class WrappedQueue:
    """A queue that forwards all verbs: a subclass changes, or watches, a verb."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)
