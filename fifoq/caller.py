"""One caller of one verb of one queue: it numbers its calls, and repeats each until the reply is known."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fifoq.errors import BackendBusy, BackendUnavailable, OutcomeUnknown
from fifoq.queue import Call

R = TypeVar("R")

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two repeats: doubled from the first to the longest, so a store is found soon after its return."""


class Caller:
    """
    Numbers the calls of one verb and repeats each until its reply is known.

    A call whose reply was lost may have taken effect, so nothing newer is sent before it is known: the store gives the
    first reply to a repeat. One call at a time: the user of this class takes turns.
    """

    def __init__(self) -> None:
        self._call = Call(secrets.token_hex(16), 0)

    async def send(self, verb: Callable[[Call], Awaitable[R]], patience: float) -> R:
        """
        Return the reply to `verb(call)`, repeated for up to `patience` seconds.

        Raises what the last try raised: BackendUnavailable or BackendBusy if no try can have taken effect, else
        OutcomeUnknown. After that, or when cancelled on the way, the next `send` is a new call: the old one, should it
        still arrive, is refused as overtaken.
        """
        self._call = Call(self._call.caller, self._call.number + 1)
        until = asyncio.get_running_loop().time() + patience
        pause, doubtful = FIRST_PAUSE, False
        while True:
            try:
                return await verb(self._call)
            except (BackendUnavailable, BackendBusy, OutcomeUnknown) as error:
                doubtful = doubtful or isinstance(error, OutcomeUnknown)
                if asyncio.get_running_loop().time() + pause > until:
                    if doubtful and not isinstance(error, OutcomeUnknown):
                        raise OutcomeUnknown(str(error)) from error
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
