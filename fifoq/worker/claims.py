"""
The claim loop: asks the worker's queues in turn for as many jobs as there is room for.

It knows nothing of functions: what it gets it hands on.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from fifoq.calls import Caller
from fifoq.clock import SECOND
from fifoq.queue import Queue
from fifoq.record import Lease, Outcome
from fifoq.worker.outage import FIRST_PAUSE, Contact, Outage
from fifoq.worker.run import Plan, Run, Runner
from fifoq.worker.settler import Settler

FLOOR = 0.75
"""Seconds after which an idle worker asks again, whatever it was told: under a second with all that it takes."""
WAIT = 5.0
"""Seconds for which a listener waits at a time."""
PROBE = 0.2
"""Seconds for which it waits after trouble, to know soon that it is over."""


class QueueFeed:
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
        self._names: dict[frozenset[Runner], frozenset[str]] = {}
        self._parked: asyncio.Future[None] | None = None
        self._heard: Callable[[], None] = lambda: None
        self._trouble = Outage(contact, f"nobody tells of new jobs in queue {self.name!r}, so it is asked each second")

    def open_places(self) -> frozenset[Runner]:
        """Where there is room for more."""
        for place in self.places:
            if place.taken >= place.width:
                return frozenset(place for place in self.places if place.taken < place.width)
        return self.places

    def names(self, places: frozenset[Runner]) -> frozenset[str]:
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


SHORTEST_REST = 0.0005
"""Seconds: a backend that always says "in no time" must not make the loop spin."""

Take = Callable[[QueueFeed, Sequence[Lease], float], None]


class Claims:
    """
    Claims for one worker, over all its queues.

    `room` says how many more jobs the worker takes, and, told True, how many if it takes some ahead; `take` gets
    leases, and the moment their claim was first sent.
    """

    def __init__(
        self, desks: Sequence[QueueFeed], worker: str, lease: int, room: Callable[[bool], int], take: Take
    ) -> None:
        self._desks = list(desks)
        self._worker = worker
        self._lease = lease
        self._room = room
        self._take = take
        self._resting: asyncio.Future[None] | None = None
        self._woken = False
        self._one_hot = False
        """Only one queue may hold jobs: nobody else's turn is taken by claiming ahead."""
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
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
        """Claim until stopped and no claim is on its way, or may have been granted unheard."""
        try:
            await self._serve()
            await self._hear_all()
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

    async def _serve(self) -> None:
        while not self.stopping:
            self._woken = self.hungry = again = False
            turn = self._turn()
            self._one_hot = len(turn) == 1
            for desk in turn:
                again = await self._ask(desk) or again
                if self.stopping:
                    return
            if again:
                await asyncio.sleep(0)  # the listeners begin
            elif not self._woken:
                await self._rest()

    async def _hear_all(self) -> None:
        """
        Hear of all that may have been claimed, so that it is handed back: by claims whose replies were lost, and by
        those that may have been made ahead. Ask for nothing new.
        """
        for desk in self._desks:
            while desk.caller.doubtful or desk.claim_stands:
                await asyncio.sleep(max(0.0, desk.outage.until - time.monotonic()))
                await self._claim(desk, 0, frozenset())

    def _turn(self) -> list[QueueFeed]:
        """The desks to ask, another one first each time."""
        desks = self._desks
        if len(desks) > 1:
            desks.append(desks.pop(0))
        now = time.monotonic()
        for desk in desks:
            if not desk.hot:
                desk.warm(now)
        return [desk for desk in desks if desk.hot and desk.may_be_asked(now)]

    async def _ask(self, desk: QueueFeed) -> bool:
        """Claim what there is room for; return whether to ask once more, now that somebody listens."""
        was_listening = desk.listening
        desk.asked(time.monotonic())
        if not await self._drain(desk):
            desk.hot = True
        elif not was_listening and desk.listen_again():
            desk.hot = True
            return True
        return False

    async def _drain(self, desk: QueueFeed) -> bool:
        """
        Claim until the desk has nothing more; return False if there was no more room, or no answer.

        Of all its tasks no more than each place has room for: a claimed sync job never waits for a thread.
        """
        while not self.stopping and (places := desk.open_places()):
            n = self._fits(places)
            if n <= 0:
                self.hungry = True
                return False
            repeated = desk.caller.doubtful
            got = await self._claim(desk, n, desk.names(places), n // len(self._desks))
            if got is None:
                return False
            if got < n and not repeated:
                desk.empty_at = desk.asked_at
                return True
            if len(places) > 1 and not await self._fill(desk, places):
                return False
        return True  # Every place is full. Once one is not, `ask_all` is called.

    async def _fill(self, desk: QueueFeed, places: frozenset[Runner]) -> bool:
        """Claim for the rest of the room without the narrowest places: they would make for many small claims."""
        rest = sorted(places, key=lambda place: place.width - place.taken)
        while not self.stopping and (rest := rest[1:]):
            n = self._fits(rest)
            if n > 0 and await self._claim(desk, n, desk.names(frozenset(rest))) is None:
                return False
        return True

    def _fits(self, places: Collection[Runner]) -> int:
        """How many jobs may be claimed without knowing in which of the places each will run."""
        fits = self._room(self._one_hot)
        for place in places:
            if place.width - place.taken < fits:
                fits = place.width - place.taken
        return fits

    async def _claim(self, desk: QueueFeed, n: int, names: frozenset[str], ahead: int = 0) -> int | None:
        """
        Make one claim; return how many leases came, or None if there was no answer.

        For `ahead` jobs, these counted, the backend may make the next one of itself.
        """
        self.in_flight = time.monotonic()
        try:
            claimed = await desk.caller.attempt(desk.queue.claim, self._worker, n, self._lease, names, ahead)
        except Exception as error:
            desk.outage.failed(error)
            return None
        finally:
            self.in_flight = None
        desk.claim_stands = claimed.stands
        desk.answered(claimed.next_timer)
        leases = claimed.leases
        if leases:
            self.claimed += len(leases)
            self._take(desk, leases, desk.caller.sent_at if claimed.since is None else claimed.since)
        return len(leases)

    async def _rest(self) -> None:
        """Sleep until something is heard, there is room again, or it is time to ask."""
        if not self.hungry:  # without room there is nothing to ask for, whatever time it is
            now = time.monotonic()
            self._set_alarm(min([desk.due(now) for desk in self._desks], default=now + FLOOR))
        self._resting = resting = self._loop.create_future()
        await resting

    def _set_alarm(self, due: float) -> None:
        """
        See that the loop is woken at `due`, or before.

        An alarm that is set already and comes before stays: woken too early, the loop sets the next one. To set and
        cancel one for each rest would cost more than all else in it.
        """
        alarm = self._alarm
        if alarm is not None:
            if self._alarm_at <= due:
                return
            alarm.cancel()
        self._alarm_at = due
        self._alarm = self._loop.call_later(max(SHORTEST_REST, due - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.wake()
