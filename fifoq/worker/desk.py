"""The worker's side of one queue: what it may claim there, whether asking is worth it, and where outcomes go."""

import asyncio
import time
from collections.abc import Callable, Mapping

from fifoq.caller import Caller
from fifoq.clock import SECOND
from fifoq.lease import Outcome
from fifoq.queue import Queue
from fifoq.worker.outage import FIRST_PAUSE, Contact, Outage
from fifoq.worker.run import Place, Plan, Run
from fifoq.worker.settler import Settler

FLOOR = 0.75
"""Seconds after which an idle worker asks again, whatever it was told: under a second with all that it takes."""
WAIT = 5.0
"""Seconds for which a listener waits at a time."""
PROBE = 0.2
"""Seconds for which it waits after trouble, to know soon that it is over."""


class Desk:
    """One queue, seen by one worker."""

    def __init__(
        self, queue: Queue, plans: Mapping[str, Plan], lease: int, held: dict[str, Run], contact: Contact
    ) -> None:
        self.name = queue.name
        self.queue = queue
        self.plans = plans
        self.settler = Settler(queue, lease, held, contact, self._put_back)
        self.settle: Callable[[Run, Outcome], None] = self.settler.add
        self.caller = Caller()
        self.outage = Outage(contact, f"jobs of queue {queue.name!r} wait to be claimed")
        self.asked_at = 0.0
        self.empty_at = 0.0
        """When the last claim was made that had no more to give than it was asked for (`time.monotonic()`)."""
        self.timer = float("inf")
        """When time alone may make a job claimable (`time.monotonic()`)."""
        self.hot = True
        """It may hold claimable jobs: asking is worth it."""
        self.listening = False
        """Whatever comes from now on will be heard."""
        self.claim_stands = False
        """The backend may make the next claim of itself."""
        self.places = frozenset(plan.place for plan in plans.values())
        """Where its tasks run."""
        self._names: dict[frozenset[Place], frozenset[str]] = {}
        self._parked: asyncio.Future[None] | None = None
        self._heard: Callable[[], None] = lambda: None
        self._trouble = Outage(contact, f"nobody tells of new jobs in queue {self.name!r}, so it is asked each second")

    def open_places(self) -> frozenset[Place]:
        """Where there is room for more."""
        for place in self.places:
            if place.taken >= place.width:
                return frozenset(place for place in self.places if place.taken < place.width)
        return self.places

    def names(self, places: frozenset[Place]) -> frozenset[str]:
        """The tasks that run in these places: the same object each time, so that a backend can know it again."""
        names = self._names.get(places)
        if names is None:
            names = frozenset(name for name, plan in self.plans.items() if plan.place in places)
            self._names[places] = names
        return names

    def warm(self, now: float) -> None:
        """Become hot if it is time to ask again."""
        if now >= self.timer or now >= self.asked_at + FLOOR:
            self.hot = True

    def may_be_asked(self, now: float) -> bool:
        """
        Whether there is any use in asking.

        A queue that takes no outcomes is asked for no more jobs: their outcomes would pile up here.
        """
        return not self.settler.outage.ongoing and now >= self.outage.until

    def due(self, now: float) -> float:
        """When to ask again if nothing is heard (`time.monotonic()`)."""
        if self.settler.outage.ongoing:
            return now + FLOOR  # or when it is over: the settler says so
        if self.outage.ongoing:
            return max(self.outage.until, self.asked_at + FIRST_PAUSE)
        return min(self.timer, self.asked_at + FLOOR)

    def asked(self, now: float) -> None:
        """Note that it is asked now: cold, with no timer, until something else is heard or answered."""
        self.asked_at = now
        self.timer = float("inf")
        self.hot = False

    def listen_again(self) -> bool:
        """Have a listener that rests listen once more, from the next turn of the loop; return whether one rested."""
        parked, self._parked = self._parked, None
        if parked is None or parked.done():
            return False
        parked.set_result(None)
        return True

    async def listen(self, heard: Callable[[], None]) -> None:
        """
        Wait for news, again and again, until cancelled.

        News of a desk that is hot anyway tell nothing, so the listener then rests until it is asked to go on: a flood
        of jobs must not wake it for each of them.
        """
        self._heard = heard
        while True:
            self.listening = True
            try:
                news = await self.queue.wait(PROBE if self._trouble.ongoing else WAIT)
            except Exception as error:
                self.listening = False
                await asyncio.sleep(self._trouble.failed(error))
                continue
            self._trouble.over()
            if news and self.hot:
                self.listening = False
                self._parked = asyncio.get_running_loop().create_future()
                await self._parked
            elif news:
                self.hot = True
                heard()

    def answered(self, next_timer: int | None) -> None:
        """Note the reply to a claim; `next_timer` in microseconds."""
        self.outage.over()
        if next_timer is not None:
            self.timer = min(self.timer, time.monotonic() + next_timer / SECOND)

    def _put_back(self, after: int) -> None:
        """Note that a job was put back, to be claimable in so many microseconds: no claim has told of that."""
        self.timer = min(self.timer, time.monotonic() + after / SECOND)
        self._heard()
