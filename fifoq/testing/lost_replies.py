"""
A backend that loses replies between a queue and its caller: the call takes effect, its caller gets OutcomeUnknown.

A worker, a `Fifoq` or a case of the kit uses it in place of the real backend, and must keep its promises with it.
"""

from collections.abc import Collection
from typing import Any

from fifoq.errors import OutcomeUnknown
from fifoq.queue import Backend, Queue
from fifoq.testing.wrapped import WrappedBackend, WrappedQueue

VERBS = ("put", "claim", "settle")
"""The calls that carry a Call, and may therefore be repeated."""


class LostReplies(WrappedBackend):
    """
    A backend whose queues lose replies.

    `lose("claim")` lets the next claim take effect and raises OutcomeUnknown instead of returning its reply;
    `lose("put", times=3)` the next three puts, repeats counted. `every=n` loses each n-th reply of all `verbs`. All
    other calls go through unchanged.

        backend = LostReplies(memory)
        backend.lose("settle")
    """

    def __init__(self, backend: Backend, *, every: int = 0, verbs: Collection[str] = VERBS) -> None:
        super().__init__(backend, lambda queue: _LossyQueue(queue, self))
        self._every = every
        self._verbs = frozenset(verbs)
        self._pending: dict[str, int] = {}
        self._calls = 0
        self.lost = 0
        """How many replies were lost."""

    def lose(self, verb: str, times: int = 1) -> None:
        """Lose the replies of the next `times` calls of `put`, `claim` or `settle`."""
        if verb not in VERBS:
            raise ValueError(f"Replies of {' '.join(VERBS)} can be lost, not of {verb!r}.")
        self._pending[verb] = self._pending.get(verb, 0) + times

    def twin(self) -> "LostReplies":
        return LostReplies(self._backend.twin(), every=self._every, verbs=self._verbs)

    def loses(self, verb: str) -> bool:
        """Count a reply, and return whether it is lost."""
        self._calls += 1
        due = bool(self._every) and verb in self._verbs and self._calls % self._every == 0
        if self._pending.get(verb, 0) > 0:
            self._pending[verb] -= 1
            due = True
        self.lost += due
        return due


class _LossyQueue(WrappedQueue):
    """One queue of a backend that loses replies."""

    def __init__(self, queue: Queue, faults: LostReplies) -> None:
        super().__init__(queue)
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        return self._lossy(name, method) if name in VERBS else method

    def _lossy(self, verb: str, method: Any) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            reply = await method(*args, **kwargs)
            if self._faults.loses(verb):
                raise OutcomeUnknown(f"The reply to this {verb} was lost on purpose.")
            return reply

        return call
