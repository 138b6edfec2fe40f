"""
Claims jobs for a worker: from each of its queues in turn, as many as there is room for.

It does not run them: a callback of the worker takes the leases.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

from fifoq.calls import Caller
from fifoq.clock import SECOND
from fifoq.queue import Gate, Queue, Stats
from fifoq.record import Filter, Lease, Outcome, Record, State
from fifoq.worker.outage import FIRST_PAUSE, NOT_NOW, Contact, Outage
from fifoq.worker.run import Plan, Run, Runner
from fifoq.worker.settler import Ended, Settler

POLL_EVERY = 0.75
"""Seconds after which an idle worker claims without a notification. With all that it takes, under a second."""
WAIT_TIMEOUT = 5.0
"""Seconds of one wait for a notification."""
PROBE_TIMEOUT = 0.2
"""Seconds of one such wait after trouble: its end is noticed soon."""
MIN_SLEEP = 0.0005
"""Seconds. A backend whose next timer is always due at once must not make the loop spin."""
FIND_LIMIT = 1_000
"""Jobs on one page of a search for those that back off."""


class ClaimTerms(NamedTuple):
    """The terms that all claims of a worker share."""

    worker: str
    """The worker's name."""
    lease: int
    """In microseconds."""
    queues: Callable[[], int]
    """Returns how many queues the worker claims from: backends may fill an equal share of the room ahead for each."""
    room: Callable[[bool], int]
    """Returns how many more jobs the worker takes; with True, including those that it prefetches."""
    take: Callable[["QueueFeed", Sequence[Lease], float], None]
    """Takes leases, with the moment when their claim was first sent (`time.monotonic()`)."""


class Turn(Enum):
    """How the turn of a queue ended."""

    OVER = auto()
    """It has no more jobs to claim, or a notification comes when it has."""
    LACKS_ROOM = auto()
    """It may have more jobs, but the worker has no room for them."""
    NO_ANSWER = auto()
    AGAIN = auto()
    """It has no more jobs, but its listener begins only now: a last turn finds those that came before."""


class QueueFeed:
    """
    One queue as the source of a worker's jobs: claims them when it may have some, and listens for new ones.

    `held` are the runs whose leases the worker holds, by token.
    """

    def __init__(self, queue: Queue, terms: ClaimTerms, held: dict[str, Run], contact: Contact) -> None:
        self.name = queue.name
        self.queue = queue
        self.plans: dict[str, Plan] = {}
        """The tasks that it claims jobs of. They only grow: `add_plans`."""
        self.settler = Settler(queue, terms.lease, held, contact, self._put_back, self._claim_with)
        self.settle: Callable[[Run, Outcome], None] = self.settler.add
        self._terms = terms
        self._room = terms.room
        self._caller = Caller()
        self._outage = Outage(contact, f"jobs of queue {queue.name!r} wait to be claimed")
        self._stopping = False
        self._runners: frozenset[Runner] = frozenset()
        """Where its tasks run."""
        self._tasks: dict[frozenset[Runner], frozenset[str]] = {}
        self._may_have_jobs = True
        self._turn_at = 0.0
        """When its newest turn began (`time.monotonic()`)."""
        self._asked_at = 0.0
        """When its newest claim was sent (`time.monotonic()`)."""
        self._empty_at = 0.0
        """When the newest turn began that claimed all there was to claim (`time.monotonic()`)."""
        self._timer = float("inf")
        """When time alone may make a job claimable (`time.monotonic()`)."""
        self._claim_sent_at: float | None = None
        """When the claim that is on its way was sent (`time.monotonic()`)."""
        self._limited: frozenset[str | None] = frozenset()
        """The tasks that have a limit; None: the queue has one."""
        self._claim_returns: asyncio.Future[None] | None = None
        """Ends the wait of the settler for the claim that is on its way."""
        self._claim_stands = False
        """The backend may make the next claim by itself (`Claimed.stands`)."""
        self._listening = False
        """A notification that comes from now on is received."""
        self._paused_listener: asyncio.Future[None] | None = None
        self._wake: Callable[[], None] = lambda: None
        self._listener_outage = Outage(
            contact, f"notifications of new jobs in queue {self.name!r} do not arrive, so it is polled each second"
        )

    def add_plans(self, plans: Mapping[str, Plan]) -> None:
        """Claim jobs of these tasks too."""
        self.plans.update(plans)
        self._runners = frozenset(plan.runner for plan in self.plans.values())
        self._tasks.clear()
        self.check()

    # ---- when to claim ----

    def check(self) -> None:
        """Claim at the next opportunity, as if there were a notification."""
        self._may_have_jobs = True

    def is_due(self, now: float) -> bool:
        """
        Whether to claim now.

        A queue that takes no outcomes gets no claims: outcomes of more jobs would pile up here.
        """
        if not self._may_have_jobs:
            if now < self._timer and now < self._turn_at + POLL_EVERY:
                return False
            self._may_have_jobs = True
        return not self.settler.outage.ongoing and now >= self._outage.until

    def due_at(self, now: float) -> float:
        """When to claim if no notification comes before (`time.monotonic()`)."""
        if self.settler.outage.ongoing:
            return now + POLL_EVERY  # or at its end: the settler calls `_put_back` then
        if self._outage.ongoing:
            return max(self._outage.until, self._turn_at + FIRST_PAUSE)
        return min(self._timer, self._turn_at + POLL_EVERY)

    def hangs(self, now: float) -> bool:
        """Whether a claim has had no answer for as long as a lease holds."""
        sent_at = self._claim_sent_at
        return sent_at is not None and now - sent_at >= self._terms.lease / SECOND

    def _put_back(self, after: int) -> None:
        """Note that a job was put back, to be claimable in so many microseconds: no reply to a claim includes it."""
        self._set_timer(after)
        self._wake()

    def update_limits(self, gates: Sequence[Gate]) -> None:
        """Note which limits are in force: an end under one may make a job claimable."""
        self._limited = frozenset(
            gate.task for gate in gates if gate.settings.limit is not None or gate.settings.value_limit is not None
        )

    async def _claim_with(self, batch: Sequence[Ended]) -> None:
        """
        Have a claim leave with a settle that may make jobs claimable: no other worker is notified of those.

        A claim on its way must return first, or the two would miss each other again and again.
        """
        limited = self._limited
        if not any(run.lease.spec.key is not None or None in limited or run.plan.name in limited for run, _ in batch):
            return
        if self._claim_sent_at is not None:
            self._claim_returns = asyncio.get_running_loop().create_future()
            await self._claim_returns
        self._resume_listener()  # before the claim, or one more would have to follow it
        self.check()
        self._wake()

    def _set_timer(self, after: int) -> None:
        self._timer = min(self._timer, time.monotonic() + after / SECOND)

    # ---- claiming ----

    async def take_turn(self, prefetch: bool) -> Turn:
        """Claim until the queue has nothing more, or there is no room. With `prefetch`, some jobs beyond the room."""
        was_listening = self._listening
        self._turn_at = time.monotonic()
        self._timer = float("inf")
        self._may_have_jobs = False
        turn = await self._claim_all(prefetch)
        if self._turn_at - self._asked_at >= POLL_EVERY and not self._stopping:
            # A worker without room asks for no jobs. It has to notice all the same that the store is gone.
            turn = turn if await self._claim(0, frozenset()) is not None else Turn.NO_ANSWER
        if turn is not Turn.OVER:
            self._may_have_jobs = True
        elif not was_listening and self._resume_listener():
            self._may_have_jobs = True
            return Turn.AGAIN
        return turn

    def stop(self) -> None:
        """Send no more claims. Leases of a claim on its way are still taken."""
        self._stopping = True

    async def collect(self) -> None:
        """
        Take all leases that may have been granted unseen: for claims without a reply, and for those made ahead.

        Else their jobs would wait until the leases end. Claims nothing new.
        """
        while self._caller.doubtful or self._claim_stands:
            await asyncio.sleep(max(0.0, self._outage.until - time.monotonic()))
            await self._claim(0, frozenset())

    async def _claim_all(self, prefetch: bool) -> Turn:
        """
        Claim until the queue has nothing more.

        Of all its tasks, it claims no more than each runner has room for: a claimed sync job never waits for a thread.
        """
        while not self._stopping and (runners := self._open_runners()):
            n = self._fits(runners, prefetch)
            if n <= 0:
                return Turn.LACKS_ROOM
            repeated = self._caller.doubtful
            got = await self._claim(n, self._tasks_of(runners), n // self._terms.queues())
            if got is None:
                return Turn.NO_ANSWER
            if got < n and not repeated:
                self._empty_at = self._turn_at
                return Turn.OVER
            if len(runners) > 1 and not await self._fill(runners, prefetch):
                return Turn.NO_ANSWER
        return Turn.OVER  # Every runner is full. Once one is not, the worker calls `check`.

    async def _fill(self, runners: frozenset[Runner], prefetch: bool) -> bool:
        """
        Claim for the rest of the room without the narrowest runners: they would make for many small claims.

        Returns False if there was no answer.
        """
        rest = sorted(runners, key=lambda runner: runner.width - runner.taken)
        while not self._stopping and (rest := rest[1:]):
            n = self._fits(rest, prefetch)
            if n > 0 and await self._claim(n, self._tasks_of(frozenset(rest))) is None:
                return False
        return True

    def _open_runners(self) -> frozenset[Runner]:
        """Those with room for more."""
        for runner in self._runners:
            if runner.taken >= runner.width:
                return frozenset(runner for runner in self._runners if runner.taken < runner.width)
        return self._runners

    def _tasks_of(self, runners: frozenset[Runner]) -> frozenset[str]:
        """The tasks that run in these: the same object each time, so that a backend can recognize it."""
        tasks = self._tasks.get(runners)
        if tasks is None:
            tasks = frozenset(name for name, plan in self.plans.items() if plan.runner in runners)
            self._tasks[runners] = tasks
        return tasks

    def _fits(self, runners: Collection[Runner], prefetch: bool) -> int:
        """How many jobs may be claimed if each of them may run in any of these."""
        fits = self._room(prefetch)
        for runner in runners:
            if runner.width - runner.taken < fits:
                fits = runner.width - runner.taken
        return fits

    async def _claim(self, n: int, tasks: frozenset[str], ahead: int = 0) -> int | None:
        """
        Make one claim; return how many leases came, or None if there was no answer.

        For `ahead` jobs, these counted, the backend may make the next claim by itself.
        """
        terms, caller = self._terms, self._caller
        self._claim_sent_at = self._asked_at = time.monotonic()
        try:
            claimed = await caller.attempt(self.queue.claim, terms.worker, n, terms.lease, tasks, ahead)
        except Exception as error:
            if not isinstance(error, NOT_NOW):
                # A repeat of this call would bring the same reply. Jobs in it come back when their leases end.
                caller.doubtful = False
            elif self._claim_stands:
                # It did not reach the backend, which may have made it by itself: a newer call would lose those leases.
                caller.doubtful = True
            self._outage.failed(error)
            return None
        finally:
            self._claim_sent_at = None
            returns, self._claim_returns = self._claim_returns, None
            if returns is not None and not returns.done():
                returns.set_result(None)
        self._claim_stands = claimed.stands
        self._outage.over()
        if claimed.next_timer is not None:
            self._set_timer(claimed.next_timer)
        leases = claimed.leases
        if leases:
            terms.take(self, leases, caller.sent_at if claimed.since is None else claimed.since)
        return len(leases)

    # ---- listening ----

    async def listen(self, wake: Callable[[], None]) -> None:
        """
        Wait for notifications, again and again, until cancelled. Each calls `wake`.

        While the queue may have jobs anyway, a notification adds nothing, so the listener then pauses until the queue
        is empty: a flood of jobs must not wake it for each of them.
        """
        self._wake = wake
        while True:
            self._listening = True
            try:
                notified = await self.queue.wait(PROBE_TIMEOUT if self._listener_outage.ongoing else WAIT_TIMEOUT)
            except Exception as error:
                self._listening = False
                await asyncio.sleep(self._listener_outage.failed(error))
                continue
            self._listener_outage.over()
            if notified and self._may_have_jobs:
                self._listening = False
                self._paused_listener = asyncio.get_running_loop().create_future()
                await self._paused_listener
            elif notified:
                self._may_have_jobs = True
                wake()

    def _resume_listener(self) -> bool:
        """Have a paused listener go on in the next turn of the event loop; return whether it was paused."""
        paused, self._paused_listener = self._paused_listener, None
        if paused is None or paused.done():
            return False
        paused.set_result(None)
        return True

    # ---- draining ----

    def was_empty(self, since: float) -> bool:
        """Whether a turn that began at `since` or later claimed all there was to claim."""
        return self._empty_at >= since

    async def goes_on(self) -> bool:
        """Whether jobs run, here or elsewhere, wait for a token or back off; True also if there is no answer."""
        try:
            stats = await self.queue.stats()
            if stats.running or not stats.waiting:
                return stats.running > 0
            return self._waits_for_token(stats) or await self._backs_off()
        except Exception as error:
            self._outage.failed(error)
            return True

    def _waits_for_token(self, stats: Stats) -> bool:
        """
        Whether the timer may be that of a token: no token is further away than an interval of its rate.

        While a claim is on its way, or went unanswered, the timer is not known: it may be.
        """
        intervals = [gate.settings.interval for gate in stats.gates if not gate.paused]
        longest = max((interval for interval in intervals if interval is not None), default=None)
        if longest is None:
            return False
        unknown = self._claim_sent_at is not None or self._outage.ongoing
        return unknown or self._timer - time.monotonic() <= longest / SECOND

    async def _backs_off(self) -> bool:
        """Whether a job that was tried before waits for its time. One that never was is only delayed."""
        cursor: int | None = 0
        while cursor is not None:
            page = await self.queue.find(Filter(state=State.WAITING), cursor, FIND_LIMIT)
            for record in page.records:
                if isinstance(record, Record) and record.due_at is not None and record.started_at is not None:
                    return True
            cursor = page.cursor
        return False


class ClaimLoop:
    """Gives each queue of a worker its turn to claim, and sleeps while none may have jobs or there is no room."""

    def __init__(self, before_turns: Callable[[], object], after_turn: Callable[[], Awaitable[None]]) -> None:
        self._feeds: list[QueueFeed] = []
        self._before_turns = before_turns
        self._after_turn = after_turn
        self._loop = asyncio.get_running_loop()
        self._sleeping: asyncio.Future[None] | None = None
        self._woken = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self.stopping = False
        self.lacks_room = False
        """Jobs may be there to claim, but there is no room for them."""

    def add(self, feed: QueueFeed) -> None:
        """Claim from this queue too."""
        self._feeds.append(feed)

    def wake(self) -> None:
        """Look again whether there is something to claim, and room."""
        self._woken = True
        sleeping = self._sleeping
        if sleeping is not None:
            self._sleeping = None
            if not sleeping.done():
                sleeping.set_result(None)

    def check_all(self) -> None:
        """Claim from every queue: a runner was full and is not any more, or the worker drains."""
        for feed in self._feeds:
            feed.check()
        self.wake()

    def stop(self) -> None:
        """Claim no more. Leases of a claim on its way are still taken."""
        self.stopping = True
        for feed in self._feeds:
            feed.stop()
        self.wake()

    async def serve(self) -> None:
        """Claim until stopped; then return once all leases have been taken that were granted."""
        try:
            await self._serve()
            for feed in self._feeds:
                await feed.collect()
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

    async def _serve(self) -> None:
        while not self.stopping:
            self._woken = self.lacks_room = again = False
            self._before_turns()
            due = self._due()
            prefetch = len(due) == 1  # with more, it would take the turn of another queue's jobs
            for feed in due:
                turn = await feed.take_turn(prefetch)
                await self._after_turn()
                if turn is Turn.LACKS_ROOM:
                    self.lacks_room = True
                elif turn is Turn.AGAIN:
                    again = True
                if self.stopping:
                    return
            if again:
                await asyncio.sleep(0)  # the listeners begin
            elif not self._woken:
                await self._sleep()

    def _due(self) -> list[QueueFeed]:
        """The queues to claim from now, another one first each time."""
        feeds = self._feeds
        if len(feeds) > 1:
            feeds.append(feeds.pop(0))
        now = time.monotonic()
        return [feed for feed in feeds if feed.is_due(now)]

    async def _sleep(self) -> None:
        """Sleep until woken, or until it is time to claim."""
        now = time.monotonic()
        due = now + POLL_EVERY
        if not self.lacks_room:  # without room no time makes a claim of use, but for its answer
            due = min([feed.due_at(now) for feed in self._feeds], default=due)
        self._set_alarm(due)
        self._sleeping = sleeping = self._loop.create_future()
        await sleeping

    def _set_alarm(self, due: float) -> None:
        """
        Have the loop woken at `due`, or before.

        An alarm that is set already and comes before stays: woken too early, the loop sets the next one. To set and
        cancel one for each sleep would cost more than all the rest of it.
        """
        alarm = self._alarm
        if alarm is not None:
            if self._alarm_at <= due:
                return
            alarm.cancel()
        self._alarm_at = due
        self._alarm = self._loop.call_later(max(MIN_SLEEP, due - time.monotonic()), self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        self.wake()
