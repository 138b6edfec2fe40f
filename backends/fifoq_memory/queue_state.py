"""
All that one queue holds, and the moves that every verb is made of. Synchronous: it knows no loop, lock, call or clock.

What a job says of itself is the truth; all else here is derived from the jobs, and `fifoq_memory.audit` says how.
"""

from fifoq.record import JobSpec, Record, State
from fifoq_memory.indexes import BlockedKeyIndex, EntryIndex, OldestWaiting, TimerIndex
from fifoq_memory.jobs import SEQ_BITS, Gate, Job, Line, TaskGate, score_of

# An enum's member costs 0.1 µs to look up on its class in Python 3.11.
SCHEDULED, WAITING, RUNNING = State.SCHEDULED, State.WAITING, State.RUNNING
_SUCCEEDED, _FAILED, _CANCELLED = State.SUCCEEDED, State.FAILED, State.CANCELLED


class QueueState:
    """
    One queue's jobs, lines, gates, timers and counts.

    `roused` is set when something may have become claimable, and `seen` collects the last records of the jobs that
    somebody watches: whoever calls a verb passes both on and clears them.
    """

    def __init__(self) -> None:
        self.number = 0
        """The last that was given out as an entry or a seq."""
        self.fence = 0
        self.jobs: dict[str, Job] = {}
        """By id."""
        self.register = EntryIndex()
        """By entry and by seq."""
        self.lines: dict[str, Line] = {}
        self.blocked = BlockedKeyIndex()
        self.uniques: dict[str, Job] = {}
        """The scheduled or live job of each unique text."""
        self.gate = Gate()
        self.tasks: dict[str, TaskGate] = {}
        self.rated = self.capped = False
        """Whether any gate has a rate, or a capacity: most queues never have to look."""
        self.timers = TimerIndex()
        self.purges = TimerIndex()
        """When each ended job may be removed."""
        self.scheduled = 0
        self.ended: dict[State, int] = {_SUCCEEDED: 0, _FAILED: 0, _CANCELLED: 0}
        self.accepted = 0
        self.purged = 0
        self.oldest = OldestWaiting()
        self.watched: set[str] = set()
        """Ids whose end somebody waits for."""
        self.seen: list[Record] = []
        self.roused = False

    @property
    def live(self) -> int:
        """How many jobs are scheduled, waiting or running."""
        ended = self.ended
        return len(self.jobs) - ended[_SUCCEEDED] - ended[_FAILED] - ended[_CANCELLED]

    def task(self, name: str) -> TaskGate:
        """The gate of a task, made when first named. There are as many as names of tasks: they stay."""
        gate = self.tasks.get(name)
        if gate is None:
            gate = self.tasks[name] = TaskGate(name)
        return gate

    # ---- into the line

    def enter(self, spec: JobSpec, now: int) -> None:
        """Take a new job."""
        # One unpacking costs as much as five looks at a field.
        id, name, _, key, value, priority, delay, in_line, expires, unique, _, _, _ = spec
        self.number = entry = self.number + 1
        task = self.tasks.get(name) or self.task(name)
        job = self.jobs[id] = Job(spec, entry, task, now)
        self.register.add(entry, job)
        self.accepted += 1
        task.live += 1
        if unique is not None:
            self.uniques[unique] = job
        if delay > 0 or expires is not None:
            self._set_times(job, now)
        if delay > 0 and not in_line:
            job.state = SCHEDULED
            self.scheduled += 1
        elif key is None and value is None and delay == 0:
            # What `arrive` would come to, for the most common job: a quarter of the cost of its put.
            job.score = score = (9 - priority << SEQ_BITS) + entry
            task.ready.add(score, job)
            self.roused = True
        else:
            self.arrive(job, entry)

    def _set_times(self, job: Job, now: int) -> None:
        spec = job.spec
        if spec.delay > 0:
            job.due_at = now + spec.delay
        if spec.expires is not None:
            job.expires_at = now + spec.expires
        self.set_timer(job)

    def arrive(self, job: Job, seq: int) -> None:
        """Let a waiting job stand at the end of the line, with the largest seq there is."""
        spec = job.spec
        job.score = score_of(spec.priority, seq)
        if spec.key is None:
            self.offer(job)
            return
        line = self.lines.get(spec.key)
        if line is None:
            line = self.lines[spec.key] = Line(spec.key)
        line.join(job)
        if line.head is job:
            self.face(line)

    def arrive_late(self, job: Job) -> None:
        """Let a job that waits from now on enter the line, with the next number as its seq."""
        old, self.number = job.seq, self.number + 1
        if old is not None and old != job.entry:
            self.register.remove(old)
        self.register.add(self.number, job)
        self.arrive(job, self.number)

    def offer(self, job: Job) -> None:
        """Let the job be claimed as soon as its gates are open, if it may: only a line's head and unkeyed jobs ask."""
        if job.due_at is None and job.state is WAITING and (job.line is None or job.line.paused_since is None):
            job.task.offer(job)
            self.roused = True

    def face(self, line: Line) -> None:
        """The line has a new head, or its head may do something else than before."""
        head = line.head
        if head is not None:
            self.offer(head)
            if head.due_at is None and line.paused_since is None and line.blocked_since is None:
                return  # Nothing is blocked, nor was: nine of ten come here.
        self.mark(line)

    def mark(self, line: Line) -> None:
        """Bring the index of blocked keys in line with a line, and drop the line if nothing is left of it."""
        blocked = line.blocked()
        since = None if blocked is None else blocked[1]
        if since != line.blocked_since:
            if line.blocked_since is not None:
                self.blocked.remove((line.blocked_since, line.key))
            if since is not None:
                self.blocked.add((since, line.key))
            line.blocked_since = since
        if line.head is None and line.paused_since is None:
            del self.lines[line.key]

    # ---- out of it

    def depart(self, job: Job, line: Line) -> None:
        """Leave the line of its key, and let the next one stand first."""
        was_head = line.head is job
        line.leave(job)
        if was_head:
            self.face(line)

    def free(self, job: Job) -> None:
        """Take back the lease, and the slots that it held."""
        job.token = job.lease_end = None
        self.timers.clear(job.entry)
        gate, task = self.gate, job.task
        gate.running -= 1
        task.running -= 1
        if job.value is not None:
            job.value.release(job)
        if gate.bounded or task.bounded:
            self.roused = True

    def put_back(self, job: Job, now: int, after: int) -> None:
        """Let a running job wait again, at its place."""
        job.state = WAITING
        job.held_since = now
        self.free(job)
        if after > 0:
            job.due_at = now + after
            self.set_timer(job)
        if job.line is None:
            self.offer(job)
        else:
            self.face(job.line)
        self.oldest.came_back(job)

    def end(self, job: Job, state: State, now: int, retain: int) -> None:
        """The job is over. One that is kept for no time leaves at once; a halted one keeps its key."""
        before, job.state = job.state, state
        job.finished_at = now
        job.cancel_requested = False
        if before is RUNNING:
            self.free(job)
        else:
            self._stop_waiting(job, before)
        job.task.live -= 1
        spec = job.spec
        job.retain = retain if retain > spec.retain else spec.retain
        if spec.id in self.watched:
            self.seen.append(job.record())
        self.ended[state] += 1
        if not job.halted:
            self.leave(job, now)
        elif job.line is not None:
            self.mark(job.line)

    def _stop_waiting(self, job: Job, before: State) -> None:
        if before is SCHEDULED:
            self.scheduled -= 1
        else:
            job.task.withdraw(job)
        job.due_at = job.expires_at = None
        self.timers.clear(job.entry)

    def leave(self, job: Job, now: int) -> None:
        """Give up the key and the unique text of an ended job, and count what it is kept for from now."""
        spec = job.spec
        if job.line is not None:
            self.depart(job, job.line)
        if spec.unique is not None:
            del self.uniques[spec.unique]
        if job.retain > 0:
            job.kept_until = now + job.retain
            self.purges.set(job.entry, job.kept_until)
        else:
            self.remove(job)

    def remove(self, job: Job) -> None:
        """Forget an ended job."""
        del self.jobs[job.spec.id]
        self.register.remove(job.entry)
        seq = job.seq
        if seq is not None and seq != job.entry:
            self.register.remove(seq)
        self.ended[job.state] -= 1
        self.purged += 1

    # ---- time

    def set_timer(self, job: Job) -> None:
        """Bring the agenda in line with the job's times."""
        at = job.timer
        if at is None:
            self.timers.clear(job.entry)
        else:
            self.timers.set(job.entry, at)
            # Who sleeps until the next timer it was told of must hear of an earlier one.
            self.roused = self.roused or self.timers.next() == at
