"""What a worker says of one queue in one turn of the loop: a settle and a claim travel as one call."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from types import coroutine
from typing import Any

from fifoq.errors import OutcomeUnknown
from fifoq_redis.command import Word
from fifoq_redis.packing import unpack

Run = Callable[..., Awaitable[bytes]]
"""Calls a verb with these values and returns its reply. Raises a FifoqError."""


class Turn:
    """
    The settle and the claim of one queue that are called in the same turn of the loop: half the work for the server.

    A settle waits for the end of the turn, unless a claim takes it along before: a worker settles, and then claims.
    """

    def __init__(self, run: Run, time: Callable[[], Word]) -> None:
        self._run = run
        self._time = time
        self._waiting: _Settle | None = None

    async def settle(self, values: tuple[Any, ...], blobs: Sequence[bytes]) -> Any:
        """Return the reply of settle. Raises a FifoqError."""
        if self._waiting is not None:
            return await self._alone("settle", values, blobs)
        mine = self._waiting = _Settle(values, blobs)
        try:
            await _end_of_turn()
        finally:
            taken = self._waiting is not mine
            if not taken:
                self._waiting = None
        if taken and (reply := await mine.reply) is not None:
            return reply
        return await self._alone("settle", values, blobs)

    async def claim(self, *values: Any) -> Any:
        """Return the reply of claim. Raises a FifoqError."""
        settle, self._waiting = self._waiting, None
        if settle is None:
            return await self._alone("claim", values)
        try:
            both = unpack(await self._run("claim", self._time(), *values, *settle.values, blobs=settle.blobs))
        except BaseException as error:
            settle.failed(error)
            raise
        # None: one of the two is a repeat, so nothing was done, and each has to go by itself.
        settled, claimed = both or (None, None)
        settle.answered(settled)
        return await self._alone("claim", values) if claimed is None else claimed

    async def _alone(self, verb: str, values: tuple[Any, ...], blobs: Sequence[bytes] = ()) -> Any:
        return unpack(await self._run(verb, self._time(), *values, blobs=blobs))


@coroutine
def _end_of_turn() -> Generator[None]:
    """As asyncio.sleep(0), which looks at its arguments."""
    yield


class _Settle:
    """One that waits for a claim to take it along."""

    __slots__ = ("blobs", "reply", "values")

    def __init__(self, values: tuple[Any, ...], blobs: Sequence[bytes]) -> None:
        self.values = values
        self.blobs = blobs
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answered(self, reply: Any) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)

    def failed(self, error: BaseException) -> None:
        if self.reply.done():
            return
        if not isinstance(error, Exception):
            error = OutcomeUnknown("The claim that this settle travelled with was cancelled. It is safe to repeat it.")
        self.reply.set_exception(error)
        self.reply.exception()  # who waited may be gone
