"""
The claim loop: asks the worker's queues in turn for as many jobs as there is room for.

It knows nothing of functions: what it gets it hands on.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from fifoq.caller import Caller
from fifoq.clock import SECOND
from fifoq.lease import Claimed, Lease, Outcome
from fifoq.queue import Queue
from fifoq.worker.outage import Outage
from fifoq.worker.run import Place, Plan, Run
from fifoq.worker.settler import Settler

log = logging.getLogger("fifoq.worker")

FLOOR = 0.75
"""Seconds after which an idle worker asks again, whatever it was told: under a second with all that it takes."""
WAIT = 5.0
"""Seconds for which a listener waits at a time."""
SHORTEST_REST = 0.0005
"""Seconds: a backend that always says "in no time" must not make the loop spin."""


class Desk:
    """The worker's side of one queue: what it may claim there, whether to ask, and where outcomes go."""

    def __init__(self, queue: Queue, plans: Mapping[str, Plan], settler: Settler) -> None:
        self.name = queue.name
        self.queue = queue
        self.plans = plans
        self.settler = settler
        self.settle: Callable[[Run, Outcome], None] = settler.add
        self.caller = Caller()
        self.outage = Outage(f"jobs of queue {queue.name!r} wait to be claimed")
        self.asked_at = 0.0
        self.timer = float("inf")
        """When time alone may make a job claimable (`time.monotonic()`)."""
        self.hot = True
        """It may hold claimable jobs: asking is worth it."""
        self.listening = False
        """Since before the last claim was sent, a listener is sure to hear of news."""
        self._places = {name: plan.place for name, plan in plans.items()}
        self._names: dict[frozenset[Place], frozenset[str]] = {}
        self._quiet: asyncio.Future[None] | None = None

    @property
    def places(self) -> set[Place]:
        """Where its tasks run."""
        return set(self._places.values())

    def names(self, places: frozenset[Place]) -> frozenset[str]:
        """The tasks that run in these places: the same object each time, so that a backend can know it again."""
        names = self._names.get(places)
        if names is None:
            names = frozenset(name for name, place in self._places.items() if place in places)
            self._names[places] = names
        return names

    def listen_again(self) -> None:
        """Have the listener wait for news once more."""
        if self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    async def listen(self, heard: Callable[[], None]) -> None:
        """
        Wait for news, again and again, until cancelled.

        News that come while the desk is hot anyway tell nothing, so the listener then rests until it is asked to go
        on: a flood of jobs must not wake it for each of them.
        """
        trouble = Outage(f"the worker is not told of new jobs in queue {self.name!r}, and asks each second")
        while True:
            self.listening = True
            try:
                news = await self.queue.wait(WAIT)
            except Exception as error:
                self.listening = False
                await asyncio.sleep(trouble.failed(error))
                continue
            trouble.over()
            if not news:
                continue
            if self.hot:
                self.listening = False
                self._quiet = asyncio.get_running_loop().create_future()
                await self._quiet
            else:
                self.hot = True
                heard()


class Claims:
    """
    Claims for one worker, over all its queues.

    `room` says how many jobs more the worker takes; `take` gets the leases, and the moment their claim was sent.
    """

    def __init__(
        self,
        desks: Sequence[Desk],
        settings: tuple[str, int],
        room: Callable[[], int],
        take: Callable[[Desk, Sequence[Lease], float], None],
    ) -> None:
        self._desks = list(desks)
        self._worker, self._lease = settings
        self._room = room
        self._take = take
        self._resting: asyncio.Future[None] | None = None
        self._stopping = False
        self.hungry = False
        """There may be jobs to claim, but there was no room."""
        self.claimed = 0
        """Leases so far."""
        self.in_flight = False

    def wake(self) -> None:
        """Look again whether there is something to claim, and room."""
        resting = self._resting
        if resting is not None:
            self._resting = None
            if not resting.done():
                resting.set_result(None)

    def room_again(self) -> None:
        """A place that was full is not any more."""
        for desk in self._desks:
            desk.hot = True
        self.wake()

    def stop(self) -> None:
        """Claim no more."""
        self._stopping = True
        self.wake()

    @property
    def quiet(self) -> bool:
        """Every queue was asked, and had nothing for this worker."""
        return not self.in_flight and not any(desk.hot for desk in self._desks)

    def ask_again(self) -> None:
        """Ask every queue, whatever was heard of it."""
        for desk in self._desks:
            desk.hot = True
        self.wake()

    async def serve(self) -> None:
        """Claim until stopped. Then return, once no claim is on its way any more."""
        while not self._stopping:
            self.hungry = False
            self._heat(time.monotonic())
            for desk in self._turn():
                await self._ask(desk)
                if self._stopping:
                    return
            await self._rest()

    def _turn(self) -> list[Desk]:
        """The desks to ask, beginning with another one each time."""
        desks = self._desks
        if len(desks) > 1:
            desks.append(desks.pop(0))
        return [desk for desk in desks if desk.hot]

    def _heat(self, now: float) -> None:
        for desk in self._desks:
            if not desk.hot and (now >= desk.timer or now - desk.asked_at >= FLOOR):
                desk.hot = True

    async def _ask(self, desk: Desk) -> None:
        """Claim what there is room for: of all its tasks as many as every place takes, then of the others."""
        if time.monotonic() < desk.outage.until:
            return
        was_listening = desk.listening
        desk.hot = not was_listening
        places = frozenset(place for place in desk.places if place.taken < place.width)
        more = len(places) < len(desk.places)
        while places:
            n = min(self._room(), *(place.width - place.taken for place in places))
            if n <= 0:
                more = True
                break
            claimed = await self._claim(desk, n, desk.names(places))
            if claimed is None:
                return
            if len(claimed.leases) < n:
                break
            desk.hot = True
            places = frozenset(place for place in places if place.taken < place.width)
        self.hungry = self.hungry or (more and self._room() <= 0)
        if desk.hot and not was_listening:
            desk.listen_again()
            await asyncio.sleep(0)
