"""A worker at work: claim loop, executor, heartbeat, settlers and maintenance, wired together on one event loop."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from fifoq.clock import microseconds
from fifoq.record import Lease, Outcome
from fifoq.task.definition import TaskDefinition
from fifoq.task.waiting import waits
from fifoq.worker.claims import ClaimLoop, ClaimTerms, QueueFeed
from fifoq.worker.executor import Executor
from fifoq.worker.heartbeat import Heartbeat
from fifoq.worker.log import NO_JOB, Event, fields, log
from fifoq.worker.maintenance import Maintenance
from fifoq.worker.outage import Contact
from fifoq.worker.outcomes import released
from fifoq.worker.probation import PROBATION, Probation
from fifoq.worker.processes import ProcessRunner
from fifoq.worker.run import Plan, Run, Runner, Stop
from fifoq.worker.runners import LoopRunner, RunnerContext, ThreadRunner
from fifoq.worker.settings import WorkerSettings, Workplace
from fifoq.worker.task_factory import JobTaskFactory

STOP_TIMEOUT = 0.4
"""Seconds that cancelled jobs get to clean up, and after them the last settlements to be written."""
NOTICED = 1.0
"""Seconds after which a stopping worker logs that it waits for its jobs."""
POLL_PAUSE = 0.002
"""Seconds between two looks at a condition that a stopping or draining worker waits for."""
DRAIN_PAUSE = 0.1
"""Seconds between two looks of a draining worker at its queues."""
RESTART_PAUSE = 1.0
"""Seconds after which a part of the worker that failed starts again."""
LOST_PAUSE = 1.0
"""Seconds until a job may be claimed again whose function still runs here, in a thread, after the lease was lost."""
WAITING_PAUSE = 5.0
"""Seconds between two looks whether all jobs of the worker wait for others."""
FOREVER = float("inf")


class Runtime:
    """The parts of an open worker, and the path of a job between them: from its lease to its outcome."""

    def __init__(self, workplace: Workplace, settings: WorkerSettings) -> None:
        self.settings = settings
        self.claimed = 0
        """Leases so far."""
        self._held: dict[str, Run] = {}
        """The runs whose leases are held, by token."""
        self._at_work: dict[tuple[str, str], Run] = {}
        """The runs that have not ended, by queue and job, whether or not their leases are held."""
        self._contact = Contact()
        self._loop = asyncio.get_running_loop()
        self._services: list[asyncio.Task[None]] = []
        self._heartbeat = Heartbeat(workplace.backend, self._held, settings, self._contact, self._request_stop)
        context = RunnerContext(settings.name, workplace.resources, self._heartbeat.report)
        self._runners: dict[str, Runner] = {
            "loop": LoopRunner(context),
            "thread": ThreadRunner(context, settings.threads),
            "process": ProcessRunner(context, settings.width_of_processes),
        }
        self._executor = Executor(settings.concurrency, self._ended)
        self._probation = Probation(self._claim_again)
        self.workplace = workplace
        self.feeds: list[QueueFeed] = []
        self._task_count = 0
        """How many registered tasks are served."""
        self._claims = ClaimLoop(self.current_feeds, self._begin_alone)
        lease = microseconds(settings.lease)
        self._terms = ClaimTerms(settings.name, lease, lambda: len(self.feeds), self._room, self._take)
        self._claiming: asyncio.Task[None] | None = None
        self._task_factory: JobTaskFactory | None = None
        self.current_feeds()

    def current_feeds(self) -> Sequence[QueueFeed]:
        """
        Return the feeds of all queues that have tasks now. Those registered since the last call are served from now on.

        This is the one place that reads the registered tasks, which only grow: counting them is cheap enough for each
        turn of the claim loop.
        """
        tasks = self.workplace.tasks
        count = sum(map(len, tuple(tasks.values())))
        if count != self._task_count and not self._claims.stopping:
            for queue, definitions in tuple(tasks.items()):
                self._serve_tasks(queue, tuple(definitions.values()))
            self._task_count = count
        return self.feeds

    def _serve_tasks(self, queue: str, definitions: Sequence[TaskDefinition]) -> None:
        """Claim jobs of those of these tasks that are new."""
        feed = next((feed for feed in self.feeds if feed.name == queue), None)
        known = () if feed is None else feed.plans
        plans = {
            each.name: Plan(each, self._runners[each.run_in], self.settings.name, self.workplace.connection)
            for each in definitions
            if each.name not in known
        }
        if not plans:
            return
        if feed is None:
            feed = QueueFeed(self.workplace.backend.queue(queue), self._terms, self._held, self._contact)
            self.feeds.append(feed)
            self._claims.add(feed)
            if self._claiming is not None:
                self._start_feed(feed)
        feed.add_plans(plans)
        if self._claiming is not None:
            log.info("Worker %s serves new tasks in queue %r: %s.", self.settings.name, queue, ", ".join(plans))

    def _start_feed(self, feed: QueueFeed) -> None:
        self._serve(feed.settler.serve)
        self._serve(partial(feed.listen, self._claims.wake))

    @property
    def ready(self) -> bool:
        """Whether it claims: the backend answers, leases are extended, and it is not stopping."""
        now = time.monotonic()
        return (
            self._claiming is not None
            and not self._claiming.done()
            and not self._claims.stopping
            and not self._contact.lost
            and not any(feed.hangs(now) for feed in self.feeds)
            and self._heartbeat.alive
            and now - self._heartbeat.last_seen < self.settings.lease
        )

    @property
    def running(self) -> int:
        """How many jobs run here or are claimed ahead."""
        return len(self._at_work)

    @property
    def idle(self) -> bool:
        """Whether no job runs here, and every outcome is written."""
        return not self._executor.taken and self._probation.pending is None and not self._unwritten()

    # ---- start and end ----

    def start(self) -> None:
        """Begin to claim."""
        self._task_factory = JobTaskFactory.install(self._loop)
        self._heartbeat.start()
        for feed in self.feeds:
            self._start_feed(feed)
        self._serve(Maintenance(self.current_feeds).serve)
        self._serve(self._check_heartbeat)
        self._serve(self._check_waiting)
        self._claiming = self._serve(self._claims.serve)

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """
        Claim no more, let jobs finish for `grace` seconds, and release the rest. `hurry` ends the grace.

        Returns at most 1 s after the grace, whatever jobs and backend do.
        """
        self._claims.stop()
        self._executor.hand_back()
        self._release_pending()
        if not await self._finish(grace, hurry):
            for run in list(self._held.values()):
                run.stop(Stop.SHUTDOWN)
            await self._until(lambda: not self._executor.taken, STOP_TIMEOUT)
            self._abandon()
            if not await self._until(self._all_done, STOP_TIMEOUT):
                log.error("The backend did not take the last settlements: their leases end by themselves.")
        for service in self._services:
            service.cancel()
        await asyncio.wait(self._services, timeout=STOP_TIMEOUT / 2)
        await self._heartbeat.stop(timeout=STOP_TIMEOUT / 2)
        for runner in self._runners.values():
            runner.close()
        if self._task_factory is not None:
            self._task_factory.uninstall(self._loop)

    async def _finish(self, grace: float, hurry: asyncio.Event) -> bool:
        """Wait for the jobs that run, up to `grace` seconds, and log that if it takes so long that it is noticed."""
        if grace <= NOTICED or await self._until(self._all_done, NOTICED, hurry) or hurry.is_set():
            return await self._until(self._all_done, grace, hurry)
        jobs = self._executor.taken
        log.warning(
            "Worker %s waits for %d job%s to finish, %g s at most; then it releases what still runs. A second Ctrl-C "
            "skips the rest of that time; while you develop, FIFOQ_SHUTDOWN_GRACE=0 leaves it out.",
            self.settings.name,
            jobs,
            "" if jobs == 1 else "s",
            grace - NOTICED,
            extra={**NO_JOB, "event": Event.WORKER_STOPPING, "worker": self.settings.name},
        )
        return await self._until(self._all_done, grace - NOTICED, hurry)

    async def drained(self) -> None:
        """Return when no job runs, may run, waits for a token or backs off."""
        while True:
            await self._until(lambda: self.idle, FOREVER)
            before = self.claimed
            over = await self._nothing_to_claim() and not any([await feed.goes_on() for feed in self.current_feeds()])
            # Jobs that were claimed during the look are running, and the look may not have seen them.
            if over and self.claimed == before:
                return
            await asyncio.sleep(DRAIN_PAUSE)

    async def _nothing_to_claim(self) -> bool:
        """Claim once more while nothing runs: the last settlement may have opened a key after the last claim."""
        now, before = time.monotonic(), self.claimed
        self._claims.check_all()
        await self._until(lambda: self.idle and all(feed.was_empty(now) for feed in self.feeds), FOREVER)
        return self.claimed == before

    def _all_done(self) -> bool:
        return self.idle and (self._claiming is None or self._claiming.done())

    def _abandon(self) -> None:
        """Release jobs that do not stop: to their places, but not before this process is gone."""
        for run in list(self._held.values()):
            if run.ended:
                continue
            run.ended = True  # so that the end of its coroutine, which is closed here, is no outcome
            delay = run.plan.runner.abandon(run)
            log.warning(
                "Job %s of task %r did not stop in time. It is released%s.",
                run.lease.spec.id,
                run.plan.name,
                f", to be tried again in {delay:g} s, when this process should be gone" if delay else "",
                extra=fields(run),
            )
            # A release would end a job with a requested cancel, and open its key under a thread that runs on.
            ours = run.stopped is not Stop.LOST and not (delay and run.stopped is Stop.CANCEL)
            self._executor.abandon(run, released(run, delay) if ours else None)

    async def _until(self, condition: Callable[[], bool], timeout: float, hurry: asyncio.Event | None = None) -> bool:
        """Wait for a condition; return False if the time is over before, or `hurry` is set."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() >= end or (hurry is not None and hurry.is_set()):
                return False
            await asyncio.sleep(POLL_PAUSE)
        return True

    # ---- from lease to outcome ----

    def _room(self, prefetch: bool) -> int:
        """How many more jobs may be claimed."""
        if self._probation.begins_nothing:
            return 0
        if self._probation.expected:
            return min(1, self._executor.room(False))
        return self._executor.room(prefetch)

    def _take(self, feed: QueueFeed, leases: Sequence[Lease], sent_at: float) -> None:
        """Start claimed jobs; hand back at once those that come too late, and those for which there is no room."""
        self.claimed += len(leases)
        deadline = sent_at + self.settings.lease
        late = self._claims.stopping or time.monotonic() >= deadline - self.settings.stop_margin
        room = self._executor.room(True)
        separate = self._probation.expected or self._probation.begins_nothing
        starting: list[Run] = []
        for lease in leases:
            plan = feed.plans.get(lease.spec.task)
            if plan is None:
                log.error("Queue %r returned a job of task %r, which was not in the claim.", feed.name, lease.spec.task)
                continue
            job = (feed.name, lease.spec.id)
            at_work = self._at_work.get(job)
            if at_work is not None and at_work.stopped is not Stop.LOST:
                self._go_on(at_work, lease, deadline)
                continue
            run = Run(feed.name, feed.settle, plan, lease, deadline)
            self._held[lease.token] = run
            runner = plan.runner
            if at_work is not None:
                run.ended = True
                run.settle(run, released(run, LOST_PAUSE))
                continue
            if late or len(starting) >= room or runner.taken >= runner.width:
                run.ended = True
                run.settle(run, released(run))
                continue
            runner.taken += 1
            starting.append(run)
            self._at_work[job] = run
            if lease.crashes:
                separate = True
        if separate:
            starting = self._separate(starting)
        if starting:
            self._executor.start(starting)

    def _go_on(self, run: Run, lease: Lease, deadline: float) -> None:
        """
        Go on with a run under a new lease of its job: the store has ended the old one under a living worker.

        Its clock was set ahead, or it has forgotten the claim. A second run beside the first would break the promise of
        the job's key.
        """
        log.warning(
            "Job %s of task %r was claimed again while it runs here: its lease had ended in the store, whose clock may "
            "have been set ahead. It goes on under the new lease.",
            lease.spec.id,
            run.plan.name,
            extra=fields(run),
        )
        old = run.lease.token
        run.deadline = deadline  # first: the heartbeat reads the lease before the deadline
        run.lease = lease
        self._held[lease.token] = run
        self._held.pop(old, None)

    def _separate(self, runs: Sequence[Run]) -> list[Run]:
        """
        Return those of a claim that may begin now: all if none is a suspect, and none was before.

        Else one of them becomes pending, and all other jobs that have not begun go back to their places.
        """
        if self._probation.begins_nothing:
            alone, excluded = None, list(runs)
        else:
            alone, excluded = self._probation.choose(runs)
        if alone is not None:
            self._executor.hand_back()
            excluded = [run for run in runs if run is not alone]
        after = 0.0 if self._probation.begins_nothing else PROBATION
        for run in excluded:
            self._ended(run, released(run, after))
        return [run for run in runs if run is not alone and run not in excluded]

    async def _begin_alone(self) -> None:
        """
        Begin a pending job once all others that have not begun are back in their places.

        If it kills this process before that is stored, its crash is charged to them.
        """
        if self._probation.pending is None:
            return
        for feed in self.feeds:
            await feed.collect()  # a standing claim would get the jobs that go back
        await self._until(lambda: self._claims.stopping or not self._unwritten(), FOREVER)
        if self._claims.stopping:
            self._release_pending()
        elif (run := self._probation.begin()) is not None:
            log.info(
                "Job %s of task %r begins alone: it, or one beside it, may have killed a worker. Its crashes: %d.",
                run.lease.spec.id,
                run.plan.name,
                run.lease.crashes,
                extra=fields(run),
            )
            self._executor.start([run])

    def _release_pending(self) -> None:
        pending, self._probation.pending = self._probation.pending, None
        if pending is not None:
            self._ended(pending, None if pending.stopped is Stop.LOST else released(pending))

    def _claim_again(self) -> None:
        """A probation is over."""
        self._claims.check_all()

    def _unwritten(self) -> bool:
        return any(feed.settler.unwritten for feed in self.feeds)

    def _ended(self, run: Run, outcome: Outcome | None) -> None:
        """Settle a run that has ended, unless its lease is lost, and claim for the room that it leaves."""
        run.ended = True
        if run.timer is not None:
            run.timer.cancel()
        runner = run.plan.runner
        was_full = runner.taken == runner.width
        runner.taken -= 1
        self._at_work.pop((run.queue, run.lease.spec.id), None)
        if run.lease.crashes or run is self._probation.current:
            self._probation.ended(run)
        if outcome is None:
            self._held.pop(run.lease.token, None)
        else:
            run.settle(run, outcome)
        if was_full:
            self._claims.check_all()
        elif self._claims.lacks_room:
            self._claims.wake()

    def _request_stop(self, run: Run, why: Stop, lease: Lease) -> None:
        """Have a run stopped on the worker's loop. The heartbeat calls this in its thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._stop_run, run, why, lease)

    def _stop_run(self, run: Run, why: Stop, lease: Lease) -> None:
        if run.ended or run.lease is not lease or self._held.get(lease.token) is not run:
            return
        if why is Stop.LOST:
            del self._held[lease.token]
        if run.stopped is None and why is not Stop.CANCEL:
            log.warning(
                "Job %s of task %r is stopped: %s.", run.lease.spec.id, run.plan.name, why.value, extra=fields(run)
            )
        run.stop(why)

    # ---- services ----

    def _serve(self, serve: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(_run_service(serve))
        self._services.append(task)
        return task

    async def _check_heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self.settings.extend_every)
            if not self._heartbeat.alive:
                log.error("The thread that extends leases has died. It is started again.")
                self._heartbeat.start()

    async def _check_waiting(self) -> None:
        """Warn, once each time, if jobs that wait for other jobs take all places of the worker for a while."""
        looks: dict[str, int] = {}
        while True:
            await asyncio.sleep(WAITING_PAUSE)
            full = self._full_of_waiters() if waits else {}
            looks = {place: looks.get(place, 0) + 1 for place in full}
            for place in [place for place, seen in looks.items() if seen == 2]:
                log.warning(
                    "All %d %s of worker %s are taken by jobs that wait for other jobs. If no other worker runs those, "
                    "it is a deadlock: give the tasks that wait a limit below that number, or the others a queue and a "
                    "worker of their own.",
                    full[place],
                    place,
                    self.settings.name,
                    extra={**NO_JOB, "event": Event.WORKER_WAITS, "worker": self.settings.name},
                )

    def _full_of_waiters(self) -> dict[str, int]:
        """Return the kinds of places that are full of jobs that wait for others, with their numbers."""
        waiting = [run for run in self._held.values() if run.started and not run.ended and run.job in waits]
        if len(waiting) >= self.settings.concurrency:
            return {"places": self.settings.concurrency}
        full: dict[str, int] = {}
        for place, runner in (("threads", self._runners["thread"]), ("processes", self._runners["process"])):
            if sum(run.plan.runner is runner for run in waiting) >= runner.width:
                full[place] = runner.width
        return full


async def _run_service(serve: Callable[[], Awaitable[None]]) -> None:
    """Run a part of the worker until it returns. A bug in it is logged, and does not end the worker."""
    while True:
        try:
            await serve()
        except Exception:
            log.exception("A part of the worker failed, and starts again. Please report this as a bug of fifoq.")
            await asyncio.sleep(RESTART_PAUSE)
        else:
            return
