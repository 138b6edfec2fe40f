"""All that works together while a worker is open: claims, executor, keeper, settlers and upkeep, on one loop."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from fifoq.clock import SECOND, microseconds
from fifoq.queue import Stats
from fifoq.record import Filter, Lease, Outcome, State
from fifoq.task.definition import TaskDefinition
from fifoq.worker.claims import Claims, QueueFeed
from fifoq.worker.executor import Executor
from fifoq.worker.heartbeat import Heartbeat, margin
from fifoq.worker.maintenance import Maintenance
from fifoq.worker.outage import Contact
from fifoq.worker.outcomes import released
from fifoq.worker.processes import ProcessRunner, check_function
from fifoq.worker.run import Plan, Run, Runner, Stop
from fifoq.worker.runners import LoopRunner, RunnerContext, ThreadRunner
from fifoq.worker.settings import WorkerSettings, Workplace

log = logging.getLogger("fifoq.worker")

LAST_WORD = 0.4
"""Seconds that cancelled jobs get to clean up, and then the last settlements to be written."""
GLANCE = 0.002
"""Seconds between two looks of somebody who waits for the end."""


class Runtime:
    """A worker at work, from its opening to its end."""

    def __init__(self, workplace: Workplace, settings: WorkerSettings) -> None:
        self.settings = settings
        self._lease = microseconds(settings.lease)
        self._held: dict[str, Run] = {}
        self._taken = 0
        self._contact = Contact()
        self._loop = asyncio.get_running_loop()
        self._services: list[asyncio.Task[None]] = []
        self._keeper = Heartbeat(workplace.backend, self._held, settings.lease, self._contact, self._tell)
        site = RunnerContext(settings.name, workplace.resources, self._keeper.report)
        self._places: dict[str, Runner] = {
            "loop": LoopRunner(site),
            "thread": ThreadRunner(site, settings.threads),
            "process": ProcessRunner(site, settings.width_of_processes),
        }
        self.desks = [self._desk(workplace, name, tasks) for name, tasks in workplace.tasks.items() if tasks]
        self._executor = Executor(settings.concurrency, self._ended)
        self.claims = Claims(self.desks, settings.name, self._lease, self._room, self._take)
        self._claiming: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to claim."""
        self._keeper.start()
        for desk in self.desks:
            self._serve(desk.settler.serve)
            self._serve(lambda desk=desk: desk.listen(self.claims.wake))
        self._serve(Maintenance(self.desks).serve)
        self._serve(self._check_keeper)
        self._claiming = self._serve(self.claims.serve)

    @property
    def ready(self) -> bool:
        """Whether it claims: the backend answers, leases are kept, and nobody has asked it to stop."""
        now = time.monotonic()
        flying = self.claims.in_flight
        return (
            self._claiming is not None
            and not self._claiming.done()
            and not self.claims.stopping
            and not self._contact.lost
            and (flying is None or now - flying < self.settings.lease)
            and self._keeper.alive
            and now - self._keeper.beat < self.settings.lease
        )

    @property
    def idle(self) -> bool:
        """Nothing runs here, and everything is written."""
        return not self._taken and not any(desk.settler.unwritten for desk in self.desks)

    async def until(self, condition: Callable[[], bool], patience: float, hurry: asyncio.Event | None = None) -> bool:
        """Wait for a condition; return False if patience ran out, or somebody is in a hurry."""
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() >= end or (hurry is not None and hurry.is_set()):
                return False
            await asyncio.sleep(GLANCE)
        return True

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """
        Claim no more, let jobs finish for `grace` seconds, release the rest. With `hurry` the grace is over.

        Returns at most 1 s after the grace, whatever jobs and backend do.
        """
        self.claims.stop()
        self._executor.hand_back()
        if not await self.until(self._all_done, grace, hurry):
            for run in list(self._held.values()):
                run.stop(Stop.SHUTDOWN)
            await self.until(lambda: not self._taken, LAST_WORD)
            self._abandon()
            if not await self.until(self._all_done, LAST_WORD):
                log.error("The backend did not take the last settlements: their leases end by themselves.")
        for service in self._services:
            service.cancel()
        await asyncio.wait(self._services, timeout=LAST_WORD / 2)
        await self._keeper.stop(patience=LAST_WORD / 2)
        for place in self._places.values():
            place.close()

    def _all_done(self) -> bool:
        return self.idle and (self._claiming is None or self._claiming.done())

    def _abandon(self) -> None:
        """Release jobs that do not stop: to their places, but not before this process is gone."""
        for run in list(self._held.values()):
            if run.ended:
                continue
            delay = run.plan.place.abandon(run)
            log.warning(
                "Job %s of task %r did not stop in time. It is released%s.",
                run.lease.spec.id,
                run.plan.name,
                f", to be tried again in {delay:g} s, when this process should be gone" if delay else "",
            )
            run.end()
            # A release would end a job that was asked to cancel, and open its key under a thread that runs on.
            ours = run.stopped is not Stop.LOST and not (delay and run.stopped is Stop.CANCEL)
            self._ended(run, released(run, delay) if ours else None)

    def _desk(self, workplace: Workplace, name: str, tasks: Mapping[str, TaskDefinition]) -> QueueFeed:
        plans = {task: Plan(definition, self._places[definition.run_in]) for task, definition in tasks.items()}
        for plan in plans.values():
            if plan.definition.run_in == "process":
                check_function(plan)
        queue = workplace.backend.queue(name)
        return QueueFeed(queue, plans, self._lease, self._held, self._contact)

    def _serve(self, serve: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(_keep_on(serve))
        self._services.append(task)
        return task

    def _room(self, ahead: bool) -> int:
        room = self.settings.concurrency - self._taken
        return room + self._executor.ahead if ahead else room

    def _take(self, desk: QueueFeed, leases: Sequence[Lease], sent_at: float) -> None:
        """Start what was claimed; hand back at once what comes too late, or is more than there is room for."""
        deadline = sent_at + self.settings.lease
        late = self.claims.stopping or time.monotonic() >= deadline - margin(self.settings.lease)
        room = self._room(True)
        starting: list[Run] = []
        for lease in leases:
            plan = desk.plans.get(lease.spec.task)
            if plan is None:
                log.error("Queue %r gave a job of task %r, which was not asked for.", desk.name, lease.spec.task)
                continue
            run = Run(desk.name, desk.settle, plan, lease, deadline)
            self._held[lease.token] = run
            place = plan.place
            if late or len(starting) >= room or place.taken >= place.width:
                run.end()
                desk.settle(run, released(run))
                continue
            self._taken += 1
            place.taken += 1
            starting.append(run)
        if starting:
            self._executor.start(starting)

    def _ended(self, run: Run, outcome: Outcome | None) -> None:
        self._taken -= 1
        place = run.plan.place
        was_full = place.taken == place.width
        place.taken -= 1
        if outcome is None:
            self._held.pop(run.lease.token, None)
        else:
            run.settle(run, outcome)
        if was_full:
            self.claims.ask_all()
        elif self.claims.hungry:
            self.claims.wake()

    def _tell(self, run: Run, why: Stop) -> None:
        """Take the keeper's word, in its thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._told, run, why)

    def _told(self, run: Run, why: Stop) -> None:
        if run.ended or self._held.get(run.lease.token) is not run:
            return
        if why is Stop.LOST:
            del self._held[run.lease.token]
        if run.stopped is None and why is not Stop.CANCEL:
            log.warning("Job %s of task %r is stopped: %s.", run.lease.spec.id, run.plan.name, why.value)
        run.stop(why)

    async def _check_keeper(self) -> None:
        while True:
            await asyncio.sleep(self.settings.lease / 3)
            if not self._keeper.alive:
                log.error("The thread that extends leases has died. It is started again.")
                self._keeper.start()


async def _keep_on(serve: Callable[[], Awaitable[None]]) -> None:
    """Run a service until it returns; a bug in it is told, and does not end the worker."""
    while True:
        try:
            await serve()
        except Exception:
            log.exception("A part of the worker failed, and starts again. Please report this as a bug of fifoq.")
            await asyncio.sleep(1.0)
        else:
            return


PAUSE = 0.1
"""Seconds between two looks at what the worker waits for."""
FOREVER = float("inf")


async def drained(shift: Runtime) -> None:
    """Return when nothing runs, may run, waits for a token or backs off."""
    while True:
        await shift.until(lambda: shift.idle, FOREVER)
        before = shift.claims.claimed
        over = await _nothing_to_claim(shift) and not any([await _goes_on(shift, desk) for desk in shift.desks])
        # What was claimed while the store looked is running, and the look may not have seen it.
        if over and shift.claims.claimed == before:
            return
        await asyncio.sleep(PAUSE)


async def _nothing_to_claim(shift: Runtime) -> bool:
    """Ask once more, now that all is still: what was settled last may have opened something after the last claim."""
    now, before = time.monotonic(), shift.claims.claimed
    shift.claims.ask_all()
    await shift.until(lambda: shift.idle and all(desk.empty_at >= now for desk in shift.desks), FOREVER)
    return shift.claims.claimed == before


async def _goes_on(shift: Runtime, desk: QueueFeed) -> bool:
    try:
        stats = await desk.queue.stats()
        if stats.running or not stats.waiting:
            return stats.running > 0
        return _waits_for_token(shift, desk, stats) or await _backs_off(desk)
    except Exception as error:
        desk.outage.failed(error)
        return True


def _waits_for_token(shift: Runtime, desk: QueueFeed, stats: Stats) -> bool:
    """
    Whether what comes next with time may be a token: no token is further away than an interval of its rate.

    As long as a claim is on its way, or went unanswered, nobody knows what comes next: it may be one.
    """
    intervals = [gate.settings.interval for gate in stats.gates if not gate.paused]
    longest = max((interval for interval in intervals if interval is not None), default=None)
    if longest is None:
        return False
    unknown = shift.claims.in_flight is not None or desk.outage.ongoing
    return unknown or desk.timer - time.monotonic() <= longest / SECOND


async def _backs_off(desk: QueueFeed) -> bool:
    """Whether a job that was tried before waits for its time. One that never was is delayed, and not waited for."""
    cursor: int | None = 0
    while cursor is not None:
        page = await desk.queue.find(Filter(state=State.WAITING), cursor, 1_000)
        if any(record.due_at is not None and record.started_at is not None for record in page.records):
            return True
        cursor = page.cursor
    return False
