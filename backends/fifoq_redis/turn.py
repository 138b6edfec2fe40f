"""What a worker says of one queue in one turn of the loop: a settle and a claim travel as one call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fifoq.errors import OutcomeUnknown
from fifoq_redis.packing import unpack

Word = bytes | str | int
Run = Callable[..., Awaitable[bytes]]
"""Calls a verb with these words and returns its reply. Raises a FifoqError."""


class Turn:
    """
    The settle and the claim of one queue that are called in the same turn of the loop: half the work for the server.

    Each waits for the end of the turn; the first to go on then takes the other along.
    """

    def __init__(self, run: Run, time: Callable[[], Word]) -> None:
        self._run = run
        self._time = time
        self._calls: dict[str, _Call] = {}
        """Of this turn, by verb."""

    async def settle(self, *words: Word) -> Any:
        """Return the reply of settle. Raises a FifoqError."""
        return await self._together("settle", words)

    async def claim(self, *words: Word) -> Any:
        """Return the reply of claim. Raises a FifoqError."""
        return await self._together("claim", words)

    async def _together(self, verb: str, words: tuple[Word, ...]) -> Any:
        if verb in self._calls:
            return await self._alone(verb, words)
        call = self._calls[verb] = _Call(words)
        try:
            await asyncio.sleep(0)
        except BaseException:
            if self._calls.get(verb) is call:
                del self._calls[verb]
            raise
        if self._calls.get(verb) is call:
            both, self._calls = self._calls, {}
            reply = await (self._as_one(call, **both) if len(both) == 2 else self._alone(verb, words))
        else:
            reply = await call.reply
        return await self._alone(verb, words) if reply is None else reply

    async def _as_one(self, own: "_Call", settle: "_Call", claim: "_Call") -> Any:
        """Send both; return the reply to one's own. None: one of them is a repeat, so each has to go by itself."""
        other = claim if own is settle else settle
        try:
            both = await self._alone("claim", (*claim.words, *settle.words))
        except BaseException as error:
            other.failed(error)
            raise
        settled, claimed = both or (None, None)
        other.answered(claimed if own is settle else settled)
        return settled if own is settle else claimed

    async def _alone(self, verb: str, words: tuple[Word, ...]) -> Any:
        return unpack(await self._run(verb, self._time(), *words))


class _Call:
    """One that waits for the end of its turn."""

    __slots__ = ("reply", "words")

    def __init__(self, words: tuple[Word, ...]) -> None:
        self.words = words
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answered(self, reply: Any) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)

    def failed(self, error: BaseException) -> None:
        if self.reply.done():
            return
        if not isinstance(error, Exception):
            error = OutcomeUnknown("The call that this one travelled with was cancelled. It is safe to repeat it.")
        self.reply.set_exception(error)
        self.reply.exception()  # who waited may be gone
