"""The caller of one verb of one queue: it numbers its calls, and repeats each until the reply is known."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from fifoq.errors import BackendBusy, BackendFull, BackendReadOnly, BackendUnavailable, OutcomeUnknown
from fifoq.queue import Call
from fifoq.record import fast_constructor

P = ParamSpec("P")
R = TypeVar("R")

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two repeats: doubled from the first to the longest, so a store is found soon after its return."""

NOTHING_HAPPENED = (BackendUnavailable, BackendBusy, BackendFull, BackendReadOnly)
"""The errors of a backend for a try that certainly took no effect. Earlier tries of the same call may have had one."""

_call = fast_constructor(Call)


class Caller:
    """
    Numbers the calls of one verb and repeats each until its reply is known.

    A call whose reply was lost may have taken effect, so nothing newer is sent before the reply is known: the store
    returns the first reply to a repeat. It makes one call at a time; its user takes care of that.
    """

    def __init__(self) -> None:
        self._call = Call(secrets.token_hex(16), 0)
        self.doubtful = False
        """The newest call may have taken effect, and its reply is not known: `attempt` will repeat it."""
        self.sent_at = 0.0
        """When the newest call was first sent in a way that may have taken effect (`time.monotonic()`)."""

    def begin(self) -> Call:
        """
        Number a new call, to be sent without `attempt`: it is in doubt until `doubtful` is set to False.

        For the one call of each job that is enqueued on its own: a coroutine less, 0.3 of 14 µs a job.
        """
        caller, number = self._call
        self._call = call = _call((caller, number + 1))
        self.doubtful = True
        return call

    async def attempt(self, verb: Callable[Concatenate[Call, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Try `verb(call, …)` once: repeat the newest call if its reply is not known, else make the next.

        Raises the errors of `verb`. The next try repeats this one if it was cancelled, or failed in a way that leaves
        its effect unknown.
        """
        was_doubtful = self.doubtful
        if not was_doubtful:
            self._call = _call((self._call.caller, self._call.number + 1))
            self.sent_at = time.monotonic()
        self.doubtful = True
        try:
            reply = await verb(self._call, *args, **kwargs)
        except NOTHING_HAPPENED:
            self.doubtful = was_doubtful
            raise
        self.doubtful = False
        return reply

    async def send(self, verb: Callable[[Call], Awaitable[R]], patience: float) -> R:
        """
        Return the reply to `verb(call)`, repeated for up to `patience` seconds, or until an error that lasts.

        Raises the error of the last try: BackendUnavailable or BackendBusy if no try can have taken effect, else
        OutcomeUnknown. After that, or after a cancellation on the way, the next `send` is a new call: the old one,
        should it still arrive, is refused as overtaken.
        """
        self.doubtful = False
        until = time.monotonic() + patience
        return await self.repeat(verb, lambda _, next_try: next_try > until)

    async def repeat(self, verb: Callable[[Call], Awaitable[R]], failed: Callable[[Exception, float], bool]) -> R:
        """
        As `send`, until `failed(error, next_try)` returns True: that error is raised then. If the reply to the newest
        call is not known, this repeats that call.

        It is called after each try in vain, with the time of the next one (`time.monotonic()`).
        """
        pause = FIRST_PAUSE
        while True:
            try:
                return await self.attempt(verb)
            except (BackendUnavailable, BackendBusy, OutcomeUnknown) as error:
                in_doubt = self.doubtful and not isinstance(error, OutcomeUnknown)
                told = OutcomeUnknown(str(error)) if in_doubt else error
                if error.lasting or failed(told, time.monotonic() + pause):
                    if in_doubt:
                        raise OutcomeUnknown(str(error)) from error
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
