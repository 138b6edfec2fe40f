"""
The backend protocol: all that a backend implements, and all of it that the rest of fifoq uses. These docstrings are
the specification; `fifoq.testing` proves a backend against them.

A backend holds atomic state and nothing else. It never decides whether a job is tried again, when, or how often: that
is policy, and belongs to the worker.

Words used below
----------------
*entry* is a job's number in the order of puts; *seq* its place in the line. One counter per queue gives both, starting
at 1: a put takes the next number as `entry`, and as `seq` unless the job is scheduled; a job that enters the line later
(by falling due, by requeue after it had left) takes the next number as its new `seq`.

*live*: waiting, running, or failed while it holds its key (`halted`).

*offered*: waiting, with no `due_at`, its key (if any) not paused, and the smallest `seq` of all live jobs of its key.

*gates*: a queue ⊃ a task ⊃ a value of the task's `by` (`JobSpec.value`). A job's path is fixed at its put; widths are
read at each claim. A gate is *open* if it is not paused, runs fewer jobs than its limit, and its rate has a token.
Every job counts against each gate of its path while a lease holds it, and at no other time.

*score*: `(9 − priority) · 2⁴⁸ + seq`. *Claimable*: offered, with every gate of its path open.

*timers*: each job has at most one at a time, the earliest of those that apply to its state:

- scheduled: `due_at` (it enters the line), or the end of `expires` (it is cancelled), the latter first if both are due
- waiting, never claimed: `due_at` for a job in line, or the end of `expires`, likewise
- waiting again: the end of its back-off or release (`due_at`)
- running: the end of its lease: back to its place, waiting, `crashes + 1`, claimable at once; or cancelled, if that was
  requested

Put and claim first fire the timers that are due, by (time, entry), at most `MAX_TIMERS`; nothing else fires any. Until
then a lease past its end is good. A timer takes effect at the call's own time, not at the time it was set for.

*ended jobs* are kept for the larger of `JobSpec.retain` and the settlement's `retain`, counted from their end; a job
kept for 0 is removed, and counted as purged, in the step that ends it. A halted job is kept until it is requeued or
skipped; the rest of its time counts from the skip.

Clock
-----
The backend's clock is the only one. It is read once per call, in whole microseconds, and never goes back: set back, it
runs on from the last value that the store used (`fifoq.clock.run_on`).

Repeats
-------
`put`, `claim` and `settle` carry a `Call`: the caller, and the number of this call among its calls of this verb on this
queue. The store keeps each caller's last number and reply, per verb, at least for an hour. A call with the last number
again changes nothing and returns that reply, whatever has become of the jobs since. A call with a smaller number is
refused with `OutcomeUnknown`. So a caller whose reply was lost repeats the call, and a late duplicate is harmless.

Damage
------
A store may hold a record that cannot be read: another program, a disk or a bug wrote to it. Such a job is *damaged*. It
spoils no call: each call reads record by record, `get`, `find` and `finished` return `Damaged` in its place, `claim`
leases it with `Lease.damage`, so that the worker can settle it, `cancel` removes it, in whichever state it is, `audit`
names it, and all other verbs pass it by.

Errors
------
Every method may raise the `BackendError`s, and no error of a driver. `BackendUnavailable`, `BackendBusy`, `BackendFull`
and `BackendReadOnly` mean that nothing took effect; `OutcomeUnknown` that it may have.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from fifoq.clock import Clock
from fifoq.limits import GateSettings
from fifoq.record import Claimed, Damaged, Extension, Filter, Hold, JobSpec, Record, Records, Settlement, State

MAX_TIMERS = 1_000
"""The most timers that one call fires."""
MAX_PAGE = 1_000
"""The most records that one page reads, shown or not."""
KEEP_REPLY = 3_600_000_000
"""The shortest time for which a caller's last reply is kept, in microseconds."""


# ---- values ----


class Call(NamedTuple):
    """The identity of one call, for repeats: the caller's nonce (fresh and unguessable per process) and its count."""

    caller: str
    number: int


class Receipt(NamedTuple):
    """The reply for one job of a put."""

    id: str
    """The id of the job: of the new one, or of the one that already had the id or the unique text."""
    created: bool
    """False: it was there before, and nothing was changed."""


class Full(NamedTuple):
    """Nothing of the batch was put: it does not fit into the capacity of the queue (`task` is None) or of a task."""

    task: str | None
    capacity: int
    live: int
    """The number of jobs that count against the capacity now."""
    asked: int
    """The number of jobs of the batch that would count against it."""


class Conflict(NamedTuple):
    """Nothing of the batch was put: this id is taken by a job with another task or payload."""

    id: str


PutReply = tuple[Receipt, ...] | Full | Conflict


class Changed(NamedTuple):
    """The effect of an operator's call on one job."""

    state: State | None
    """The job's state after the call; None: there is no such job."""
    changed: bool
    conflict: str | None = None
    """The id of the job that holds this one's unique text: why a requeue was refused."""


class Declare(NamedTuple):
    """The settings of the queue, or of one of its tasks, as declared in code. The last declaration counts."""

    task: str | None
    settings: GateSettings


class Override(NamedTuple):
    """An operator's settings in place of the declared ones, all at once. They count until lifted by None."""

    task: str | None
    settings: GateSettings | None


class Pause(NamedTuple):
    """Claim nothing of the queue, of one of its tasks, or of one key (at most one is given), until resumed."""

    task: str | None = None
    key: str | None = None


class Resume(NamedTuple):
    """Lift the pause of exactly that queue, task or key."""

    task: str | None = None
    key: str | None = None


Setting = Declare | Override | Pause | Resume


class Gate(NamedTuple):
    """The state of a queue's or a task's gate."""

    task: str | None
    """None: the queue's own."""
    settings: GateSettings
    """In force: the override, if there is one, or what was declared."""
    overridden: bool
    paused: bool
    live: int
    """Jobs scheduled, waiting or running: those that count against the capacity."""
    running: int


class Stats(NamedTuple):
    """Counts of one queue at one instant. The first six sum up to `accepted`, less `purged`."""

    scheduled: int
    waiting: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    purged: int
    accepted: int
    """Jobs ever put: the sum of the other seven, at every instant."""
    oldest_waiting: int | None
    """Microseconds since the put of the waiting job with the smallest seq; None if none waits."""
    gates: tuple[Gate, ...]
    """The queue's own first, then one for each task that was declared, paused, overridden or has live jobs, by name."""


class BlockedKeyRecord(NamedTuple):
    """A key whose head may not be claimed, for a reason other than running or a limit."""

    key: str
    job_id: str | None
    """The job at its head; None if the key is paused and has no live job."""
    reason: str
    """`halted`, `paused` or `backing off`; the first that is true."""
    since: int
    """The time when that began: of the failure, the pause, or the settlement or put that set the head's `due_at`."""


class BlockedKeys(NamedTuple):
    """A page of blocked keys. `cursor` continues behind it; None: it is the last page."""

    keys: tuple[BlockedKeyRecord, ...]
    cursor: str | None


class Audit(NamedTuple):
    """The result of a look at everything."""

    differences: tuple[str, ...]
    """Each a sentence: the stored value, and the value that follows from the jobs. Empty in a sound store."""
    jobs: int
    """The number of records that were read."""


# ---- protocols ----


@runtime_checkable
class Queue(Protocol):
    """A named queue of jobs. Each method is atomic: a crash leaves all of it or nothing, and no reader sees half."""

    name: str

    async def put(self, call: Call, batches: Sequence[Sequence[JobSpec]]) -> tuple[PutReply, ...]:
        """
        Enter jobs. One reply per batch, in order; the batches are applied one after another in one atomic step.

        Fires due timers first. A batch enters as a whole, in list order, or not at all. A spec whose `id` is already
        in the queue (as long as that job is retained) or earlier in the batch enters nothing: its receipt has
        `created=False`; with another task or payload the batch is a `Conflict`. Else, a spec whose `unique` is held by
        a scheduled or live job, or by an earlier spec of the batch, enters nothing, and its receipt names that job.
        The rest must fit into the capacity of the queue, and of each task that has one: `scheduled + waiting +
        running ≤ capacity`; otherwise the batch is `Full`, the queue's capacity tried first, then the tasks' by name.

        With `delay = 0` a job is waiting, with `seq = entry`; with a delay it is scheduled, without a seq, unless
        `in_line`, when it is waiting with `seq = entry` and a `due_at`. `put` returns once the jobs are as safe as the
        backend promises.
        """
        ...

    async def claim(
        self, call: Call, worker: str, n: int, lease: int, tasks: Collection[str], ahead: int = 0
    ) -> Claimed:
        """
        Lease up to `n` jobs for `lease` microseconds: n times the claimable job with the smallest score, of `tasks`.

        Fires due timers first. Each lease takes a slot of every gate of the job's path and a token of every rate, or
        nothing. The job is running: `attempt + 1`, its `started_at` and `worker` set, its `due_at`, progress and
        `expires` gone. The queue's next fence (1, 2, …) goes to each lease, and the token
        `"{caller}.{number}.{fence}"`.

        Rates are token buckets: with `interval` and `burst`, a gate has a token while `tat − now ≤ (burst − 1) ·
        interval`, where `tat` is the larger of the stored one and now; a claim stores `tat + interval`. A released
        lease gives no token back.

        Cancelling this coroutine must not lose jobs: either nothing was claimed, or the caller repeats the call.

        If fewer than `n` and than `ahead` are leased, the backend may make this caller's next call (`number + 1`) of
        itself, for the rest of `ahead` and otherwise as this one: in the step that makes a job claimable, at most a
        second or a quarter of the lease later, whichever is less, and only while a call of `wait` is in progress. That
        call ends then, and the next claim, whatever its arguments, returns those leases, with `since`. Until its caller
        makes that claim, the one before may be repeated as ever: its reply may have been lost. A backend need not do
        any of it; if it may, the reply `stands`, and its caller makes one more claim before it leaves, if only for
        `n = 0`.
        """
        ...

    async def extend(self, extensions: Sequence[Extension]) -> tuple[Hold, ...]:
        """Set the end of each lease to now plus `lease`, and store the progress, if the token is still the job's."""
        ...

    async def settle(self, call: Call, settlements: Sequence[Settlement]) -> tuple[State | None, ...]:
        """
        End leases. Each reply is the state that the job is in now, or None if the lease was lost: nothing changed.

        `Succeed`, `Fail` and `Cancel` end the job; the last with the reason of the request to cancel, if there was one,
        or else the outcome's. `Fail` with `halt` on a keyed job keeps its key closed. `Retry` and `Release` put it
        back, waiting, at its place; with `after > 0` not claimable before then (`due_at`). `Release` gives the attempt
        back. If a cancel was requested, Retry and Release end the job cancelled, with the reason of the request.
        `error` is kept from Retry and Fail, and cleared by Succeed. Settlements are applied in order. Fires no timers.
        """
        ...

    async def wait(self, timeout: float) -> bool:
        """
        Return True as soon as something may have become claimable since this call began, or False after `timeout`.

        A call that sets a timer earlier than all others counts too: a worker that sleeps until the next timer must be
        woken. Only a hint: it may return True for nothing, and a backend may miss a change, but not regularly. Time
        alone (a timer, a token) does not end it: `Claimed.next_timer` covers those. Real seconds, under any clock.
        """
        ...

    def expect(self, id: str) -> None:
        """
        Announce that a job with this id is about to be put here, and that `finished` will be called for it then.

        A hint: a backend may ask, with the put, to be notified of the end. It need not do anything.
        """
        ...

    async def finished(self, id: str, timeout: float) -> Record | Damaged | None:
        """
        Return the job's record once it has ended or is found damaged, or None after `timeout` seconds.

        Raises JobNotFound if there is no such job, or it is removed before it was seen to end. Real seconds.
        """
        ...

    async def get(self, ids: Sequence[str]) -> tuple[Record | Damaged | None, ...]:
        """Return the records of these ids, None for each that is not there, all as of one instant."""
        ...

    async def find(self, filter: Filter, cursor: int, limit: int) -> Records:
        """
        Return up to `limit` matching records with an entry above `cursor` (0: from the first), in order of entry.

        Reads at most `MAX_PAGE` records, so a page may be short, or empty, and still have a cursor.
        """
        ...

    async def stats(self) -> Stats:
        """Return the counts, as of one instant, in O(tasks)."""
        ...

    async def blocked_keys(self, cursor: str | None, limit: int, owner: str | None = None) -> BlockedKeys:
        """
        Return up to `limit` blocked keys, each once over all pages if it stays as it is; oldest first.

        With `owner`, only keys whose head is a job of that owner. Reads at most `MAX_PAGE` keys, so a page may be
        short, or empty, and still have a cursor. The cursor of a full page depends on the last key shown alone.
        """
        ...

    async def cancel(self, ids: Sequence[str], reason: str) -> tuple[Changed, ...]:
        """
        Cancel scheduled and waiting jobs, at once; request it of running ones. An ended job stays as it is.

        A damaged job is removed. `changed` is True if it was cancelled or removed, or its cancel newly requested. The
        reason of the first request stands.
        """
        ...

    async def requeue(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        """
        Put failed jobs back, in list order, as if never tried: attempt, crashes, error, progress, worker and times of
        its tries are gone; `entry`, `created_at` and the spec stay, `expires` no longer counts.

        A halted one resumes at its place; any other enters at the end of the line, unless its unique text is taken.
        Needs no capacity. Jobs in other states stay as they are.
        """
        ...

    async def skip(self, ids: Sequence[str]) -> tuple[Changed, ...]:
        """Let the keys of halted jobs go on without them. The jobs stay failed, and are retained from now."""
        ...

    async def configure(self, settings: Sequence[Setting]) -> None:
        """Apply settings, in order, for good. Idempotent. A lowered limit drains: it revokes nothing."""
        ...

    async def purge(self, limit: int) -> int:
        """
        Remove up to `limit` ended jobs whose time is over, in the order of that time, and replies past KEEP_REPLY.

        Returns the number of jobs removed.
        """
        ...

    async def audit(self) -> Audit:
        """Recompute all derived state (lines, ready sets, counts, timers) from the jobs, in one look. O(n)."""
        ...


@runtime_checkable
class Backend(Protocol):
    """
    A store of queues.

    Made by a factory under the entry-point group `fifoq.backends`, one per URL scheme. Making one does no I/O; it may
    be opened and closed again and again, on one loop at a time.
    """

    async def open(self) -> None:
        """Connect, and bring the store to this version's schema. Raises ConfigurationError if it is of a newer one."""
        ...

    async def close(self) -> None:
        """Let go of every connection, thread and file. Idempotent; never raises for one that is already gone."""
        ...

    def twin(self) -> "Backend":
        """Return another backend on the same store and clock, unopened, for another loop or thread."""
        ...

    def queue(self, name: str) -> Queue:
        """Return the queue of that name, made on its first put or configure. The same object each time."""
        ...

    async def queues(self) -> tuple[str, ...]:
        """Return the names of the queues that the store holds, in order of name."""
        ...

    async def check(self) -> tuple[str, ...]:
        """Reach the store; return notes on it for its operator, a sentence each. Raises if it is not usable."""
        ...


class BackendFactory(Protocol):
    """The factory that an entry point of `fifoq.backends` names."""

    def __call__(self, url: str, *, clock: Clock | None = None) -> Backend:
        """Make a backend for `url`, read strictly. Raises ConfigurationError; never shows the URL's password."""
        ...
