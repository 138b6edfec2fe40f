"""
The claim loop: asks the worker's queues in turn for as many jobs as there is room for.

It knows nothing of functions: what it gets it hands on.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from fifoq.lease import Lease
from fifoq.worker.desk import Desk

SHORTEST_REST = 0.0005
"""Seconds: a backend that always says "in no time" must not make the loop spin."""

Take = Callable[[Desk, Sequence[Lease], float], None]


class Claims:
    """
    Claims for one worker, over all its queues.

    `room` says how many more jobs the worker takes; `take` gets leases, and the moment their claim was first sent.
    """

    def __init__(self, desks: Sequence[Desk], worker: str, lease: int, room: Callable[[], int], take: Take) -> None:
        self._desks = list(desks)
        self._worker = worker
        self._lease = lease
        self._room = room
        self._take = take
        self._resting: asyncio.Future[None] | None = None
        self._woken = False
        self.stopping = False
        self.in_flight: float | None = None
        """Since when a claim is on its way (`time.monotonic()`)."""
        self.hungry = False
        """There may be jobs to claim, but there is no room for them."""
        self.claimed = 0
        """Leases so far."""

    def wake(self) -> None:
        """Look again whether there is something to claim, and room."""
        self._woken = True
        resting = self._resting
        if resting is not None:
            self._resting = None
            if not resting.done():
                resting.set_result(None)

    def ask_all(self) -> None:
        """Ask every queue, whatever was heard of it: a place was full and is not any more, or somebody must know."""
        for desk in self._desks:
            desk.hot = True
        self.wake()

    def stop(self) -> None:
        """Claim no more. What a claim on its way brings is still handed on."""
        self.stopping = True
        self.wake()

    async def serve(self) -> None:
        """Claim until stopped and no claim is on its way."""
        while not self.stopping:
            self._woken = self.hungry = again = False
            for desk in self._turn():
                again = await self._ask(desk) or again
                if self.stopping:
                    return
            if again:
                await asyncio.sleep(0)  # the listeners begin
            elif not self._woken:
                await self._rest()

    def _turn(self) -> list[Desk]:
        """The desks to ask, another one first each time."""
        desks = self._desks
        if len(desks) > 1:
            desks.append(desks.pop(0))
        now = time.monotonic()
        for desk in desks:
            if not desk.hot:
                desk.warm(now)
        return [desk for desk in desks if desk.hot and now >= desk.outage.until]

    async def _ask(self, desk: Desk) -> bool:
        """Claim what there is room for; return whether to ask once more, now that somebody listens."""
        was_listening = desk.listening
        desk.hot = False
        if not await self._drain(desk):
            desk.hot = True
        elif not was_listening and desk.listen_again():
            desk.hot = True
            return True
        return False

    async def _drain(self, desk: Desk) -> bool:
        """
        Claim until the desk has nothing more; return False if there was no more room, or no answer.

        First of all its tasks as many as each place has room for, then of those whose places are not full: a claimed
        sync job never waits for a thread.
        """
        while places := frozenset(place for place in desk.places if place.taken < place.width):
            n = min(self._room(), *(place.width - place.taken for place in places))
            if n <= 0:
                self.hungry = True
                return False
            repeated = desk.caller.doubtful
            got = await self._claim(desk, n, desk.names(places))
            if got is None:
                return False
            if got < n and not repeated:
                desk.empty_at = desk.asked_at
                return True
        return True  # Every place is full. Once one is not, `ask_all` is called.

    async def _claim(self, desk: Desk, n: int, names: frozenset[str]) -> int | None:
        """Make one claim; return how many leases came, or None if there was no answer."""
        desk.asked_at = self.in_flight = time.monotonic()
        try:
            claimed = await desk.caller.attempt(
                lambda call: desk.queue.claim(call, self._worker, n, self._lease, names)
            )
        except Exception as error:
            desk.outage.failed(error)
            return None
        finally:
            self.in_flight = None
        desk.answered(claimed.next_timer)
        leases = claimed.leases
        if leases:
            self.claimed += len(leases)
            self._take(desk, leases, desk.caller.sent_at)
        return len(leases)

    async def _rest(self) -> None:
        """Sleep until something is heard, there is room again, or it is time to ask."""
        loop = asyncio.get_running_loop()
        self._resting = resting = loop.create_future()
        dues = [desk.due for desk in self._desks if not desk.hot or desk.outage.ongoing]
        timer = None
        if dues:
            timer = loop.call_later(max(SHORTEST_REST, min(dues) - time.monotonic()), self.wake)
        try:
            await resting
        finally:
            if timer is not None:
                timer.cancel()
