"""
The ways in which other queues break limits, rates and capacities, planted in the in-memory backend one at a time. Each
is caught by the named cases of the kit.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from fifoq_memory import claiming, firing, operating, putting, settling
from fifoq_memory.book import RUNNING, WAITING, Book
from fifoq_memory.gates import Gate, TaskGate, ValueGate
from fifoq_memory.job import Job
from fifoq_memory.ready import Ready

from fifoq.clock import SECOND
from fifoq.lease import Release
from fifoq.queue import Declare, Full
from fifoq.record import JobSpec
from fifoq.testing.contract.capacity import CapacityCases
from fifoq.testing.contract.cost import CostCases
from fifoq.testing.contract.identity import IdentityCases
from fifoq.testing.contract.limits import LimitCases
from fifoq.testing.contract.rate import RateCases
from fifoq.testing.mutation import MakeStore, Mutant, Mutants, after, check

bugs = Mutants()


# ---- limits as counters


@bugs.caught_by(LimitCases.test_a_crash_leaks_no_slot)
def a_crash_leaks_its_slot(patch: pytest.MonkeyPatch) -> None:
    """The path of expiry forgets the running count: BullMQ's phantom active jobs, RQ, docket."""

    def then(book: Book, job: Job, _: int) -> None:
        book.gate.running += 1
        job.task.running += 1

    after(patch, firing, "_end_lease", then)


@bugs.caught_by(LimitCases.test_a_crash_leaks_no_slot)
def a_crash_leaks_the_slot_of_its_value(patch: pytest.MonkeyPatch) -> None:
    real = firing._end_lease

    def end_lease(book: Book, job: Job, now: int) -> None:
        if job.value is not None:
            job.value.running += 1
        real(book, job, now)

    patch.setattr(firing, "_end_lease", end_lease)


@bugs.caught_by(
    LimitCases.test_a_second_settle_frees_nothing_twice,
    LimitCases.test_a_stale_settle_after_a_crash_frees_nothing,
)
def a_second_settle_frees_another_slot(patch: pytest.MonkeyPatch) -> None:
    """Solid Queue: a double release let a job with limit 1 run eleven times at once."""

    def then(book: Book, _: int, id: str, token: str, __: Any) -> None:
        if id in book.jobs and book.jobs[id].token != token:
            book.gate.running -= 1

    real = settling._settle
    patch.setattr(settling, "_settle", lambda *arguments: (then(*arguments), real(*arguments))[1])


@bugs.caught_by(LimitCases.test_a_job_that_backs_off_holds_no_slot)
def a_job_that_backs_off_holds_its_slot(patch: pytest.MonkeyPatch) -> None:
    """NATS: a delayed negative acknowledgement keeps its place among the pending."""

    def then(book: Book, job: Job, _: int, wait: int) -> None:
        if wait > 0:
            book.gate.running += 1

    after(patch, Book, "put_back", then)


@bugs.caught_by(LimitCases.test_every_end_of_a_lease_frees_its_slot)
def a_halt_holds_its_slot(patch: pytest.MonkeyPatch) -> None:
    def then(book: Book, job: Job, *_: Any) -> None:
        book.gate.running += job.halted

    after(patch, Book, "end", then)


@bugs.caught_by(LimitCases.test_a_slot_of_an_outer_limit_is_not_held_while_an_inner_one_is_full)
def a_job_over_its_tasks_limit_holds_a_slot_of_the_queue(patch: pytest.MonkeyPatch) -> None:
    """Hatchet: a slot held while waiting for another is a deadlock."""

    def then(book: Book, *_: Any) -> None:
        for task in book.tasks.values():
            book.gate.running += task.limit == task.running and task.ready.first() is not None

    after(patch, claiming, "claim", then)


@bugs.caught_by(LimitCases.test_limits_nest, LimitCases.test_each_value_runs_no_more_than_the_value_limit)
def a_value_has_no_limit(patch: pytest.MonkeyPatch) -> None:
    real = ValueGate.show

    def show(gate: ValueGate) -> None:
        running, gate.running = gate.running, 0
        real(gate)
        gate.running = running
        gate.task.values[gate.value] = gate

    patch.setattr(ValueGate, "show", show)


@bugs.caught_by(LimitCases.test_limits_nest, LimitCases.test_each_value_runs_no_more_than_the_value_limit)
def nobody_is_woken_when_a_value_has_room_again(patch: pytest.MonkeyPatch) -> None:
    """What was parked on a full limit stays parked."""
    real = ValueGate.show

    def release(gate: ValueGate, job: Job) -> None:
        full = gate.running == gate.task.settings.value_limit
        job.value = None
        gate.running -= 1
        if not full:
            real(gate)

    patch.setattr(ValueGate, "release", release)


@bugs.caught_by(LimitCases.test_the_oldest_goes_first_when_a_limit_opens)
def the_youngest_goes_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ready, "first", lambda ready: max(ready.members, default=None))
    patch.setattr(Ready, "pop", lambda ready, _=0: ready.members.pop(max(ready.members)) if ready.members else None)


@bugs.caught_by(LimitCases.test_a_task_runs_no_more_than_its_limit, LimitCases.test_limits_nest)
def a_task_has_no_limit(patch: pytest.MonkeyPatch) -> None:
    def room(gate: TaskGate, now: int, n: int) -> int:
        limit, gate.limit = gate.limit, None
        n = Gate.room(gate, now, n)
        gate.limit = limit
        return n

    patch.setattr(TaskGate, "room", room)


@bugs.caught_by(LimitCases.test_a_queue_runs_no_more_than_its_limit)
def a_batch_looks_at_the_limit_once(patch: pytest.MonkeyPatch) -> None:
    """Claim as many as asked for if there is any room at all: RQ, and every check before a batch."""
    real = Gate.room
    patch.setattr(Gate, "room", lambda gate, now, n: n if real(gate, now, n) else 0)


@bugs.caught_by(LimitCases.test_a_value_limit_counts_the_leases_taken_before_it_was_declared)
def a_value_counts_only_what_it_let_through(patch: pytest.MonkeyPatch) -> None:
    def then(gate: Gate) -> None:
        for value in gate.values.values() if isinstance(gate, TaskGate) and hasattr(gate, "values") else ():
            value.running = 0

    after(patch, Gate, "read_settings", then)


@bugs.caught_by(LimitCases.test_an_override_beats_every_declaration_until_it_is_lifted)
def a_declaration_lifts_the_override(patch: pytest.MonkeyPatch) -> None:
    """Every worker that starts puts back what the operator has changed."""
    real = operating._apply

    def apply(book: Book, now: int, setting: Any) -> None:
        if isinstance(setting, Declare):
            (book.gate if setting.task is None else book.task(setting.task)).override = None
        real(book, now, setting)

    patch.setattr(operating, "_apply", apply)


@bugs.caught_by(LimitCases.test_an_override_is_of_all_settings_at_once)
def an_override_changes_only_what_it_names(patch: pytest.MonkeyPatch) -> None:
    def then(gate: Gate) -> None:
        if gate.override and gate.declared and gate.limit is None:
            gate.limit = gate.declared.limit

    after(patch, Gate, "read_settings", then)


# ---- rates


@bugs.caught_by(RateCases.test_a_release_gives_no_token_back)
def a_release_gives_its_token_back(patch: pytest.MonkeyPatch) -> None:
    def then(book: Book, _: int, __: Job, outcome: Any) -> None:
        if isinstance(outcome, Release):
            book.gate.tat -= book.gate.interval or 0

    after(patch, settling, "_settle_otherwise", then)


@bugs.caught_by(RateCases.test_an_idle_bucket_saves_no_more_than_its_burst)
def an_idle_bucket_overflows(patch: pytest.MonkeyPatch) -> None:
    def take(gate: Gate, n: int, now: int) -> None:
        gate.running += n
        if gate.interval is not None and n:
            gate.tat = (gate.tat or now) + n * gate.interval

    def room(gate: Gate, now: int, n: int) -> int:
        if gate.interval is None:
            return n
        return max(0, min(n, gate.burst - -(-((gate.tat or now) - now) // gate.interval)))

    patch.setattr(Gate, "take", take)
    patch.setattr(Gate, "room", room)


@bugs.caught_by(RateCases.test_in_no_window_start_more_than_burst_plus_rate_times_window)
def a_rate_counts_in_fixed_windows(patch: pytest.MonkeyPatch) -> None:
    """Sidekiq's buckets: twice the burst at the edge of two windows."""
    used: dict[tuple[Gate, int], int] = {}

    def room(gate: Gate, now: int, n: int) -> int:
        if gate.interval is None:
            return n
        return max(0, min(n, gate.burst + SECOND // gate.interval - 1 - used.get((gate, now // SECOND), 0)))

    def take(gate: Gate, n: int, now: int) -> None:
        gate.running += n
        used[gate, now // SECOND] = used.get((gate, now // SECOND), 0) + n

    patch.setattr(Gate, "take", take)
    patch.setattr(Gate, "room", room)


@bugs.caught_by(RateCases.test_a_full_limit_spends_no_token, RateCases.test_a_job_takes_a_token_of_every_rate_or_none)
def a_claim_that_is_refused_spends_a_token(patch: pytest.MonkeyPatch) -> None:
    """Claim, then reject: GoodJob, Sidekiq's limiters."""

    def then(book: Book, terms: Any, *_: Any) -> None:
        shut = any(task.ready.first() is not None and not task.room(terms.now, 1) for task in book.tasks.values())
        book.gate.tat = max(book.gate.tat, terms.now) + shut * (book.gate.interval or 0)

    after(patch, claiming, "claim", then)


@bugs.caught_by(RateCases.test_an_empty_queue_spends_no_token)
def a_claim_of_nothing_spends_a_token(patch: pytest.MonkeyPatch) -> None:
    def then(gate: Gate, n: int, now: int) -> None:
        if n == 0:
            gate.tat = max(gate.tat, now) + (gate.interval or 0)

    after(patch, Gate, "take", then)


@bugs.caught_by(RateCases.test_writing_the_same_rate_again_gives_no_token)
def a_rate_starts_anew_with_each_declaration(patch: pytest.MonkeyPatch) -> None:
    """Every process that opens refills the bucket."""
    after(patch, Gate, "read_settings", lambda gate: setattr(gate, "tat", 0))


@bugs.caught_by(RateCases.test_the_next_token_is_a_timer)
def a_token_is_no_timer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "opens_at", lambda *_: None)


# ---- capacities


@bugs.caught_by(
    CapacityCases.test_repeats_count_nothing,
    CapacityCases.test_a_repeat_is_welcome_where_a_lowered_capacity_is_exceeded,
)
def repeats_count_against_the_capacity(patch: pytest.MonkeyPatch) -> None:
    real = putting._put_batch

    def put_batch(book: Book, now: int, batch: Sequence[JobSpec]) -> Any:
        capacity = book.gate.settings.capacity
        if capacity is not None and book.live + len(batch) > capacity:
            return Full(None, capacity, book.live, len(batch))
        return real(book, now, batch)

    patch.setattr(putting, "_put_batch", put_batch)


@bugs.caught_by(CapacityCases.test_a_batch_fits_as_a_whole_or_not_at_all)
def a_batch_enters_as_far_as_it_fits(patch: pytest.MonkeyPatch) -> None:
    real = putting._put_batch

    def put_batch(book: Book, now: int, batch: Sequence[JobSpec]) -> Any:
        reply = real(book, now, batch)
        if isinstance(reply, Full):
            real(book, now, batch[: reply.capacity - reply.live])
        return reply

    patch.setattr(putting, "_put_batch", put_batch)


@bugs.caught_by(CapacityCases.test_scheduled_waiting_and_running_jobs_count)
def running_jobs_do_not_count_against_the_capacity(patch: pytest.MonkeyPatch) -> None:
    real = Book.live.fget
    assert real is not None
    patch.setattr(Book, "live", property(lambda book: real(book) - book.gate.running))


@bugs.caught_by(CapacityCases.test_ended_and_halted_jobs_do_not_count)
def ended_jobs_count_against_the_capacity(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Book, "live", property(lambda book: len(book.jobs)))


@bugs.caught_by(CapacityCases.test_what_expires_makes_room_in_the_same_put)
def a_put_fires_no_timers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(putting, "fire", lambda *_: None)


@bugs.caught_by(
    CapacityCases.test_a_mixed_batch_is_refused_for_its_one_full_task,
    CapacityCases.test_a_full_task_refuses_and_others_do_not,
)
def a_task_has_no_capacity(patch: pytest.MonkeyPatch) -> None:
    real = putting._full

    def full(book: Book, fresh: Any) -> Full | None:
        reply = real(book, fresh)
        return reply if reply and reply.task is None else None

    patch.setattr(putting, "_full", full)


@bugs.caught_by(IdentityCases.test_a_conflict_comes_before_a_full_queue)
def a_full_queue_comes_before_a_conflict(patch: pytest.MonkeyPatch) -> None:
    repeats_count_against_the_capacity(patch)


# ---- cost


@bugs.caught_by(CostCases.test_no_call_costs_more_for_what_else_there_is)
def a_claim_reads_all_that_waits(patch: pytest.MonkeyPatch) -> None:
    """NOT EXISTS over the backlog: procrastinate, Graphile Worker's first strategy."""

    def then(book: Book, *_: Any) -> None:
        for job in book.jobs.values():
            assert job.state is not WAITING or job.score

    after(patch, claiming, "claim", then)


@bugs.caught_by(CostCases.test_no_call_costs_more_for_what_else_there_is)
def a_cancel_reads_the_line(patch: pytest.MonkeyPatch) -> None:
    """asynq: LREM over the list."""

    def then(book: Book, _: int, id: str, __: str) -> None:
        for job in book.lines.get("deep", ()):
            assert job.spec.id != id or job.state is RUNNING

    after(patch, operating, "cancel", then)


@pytest.mark.parametrize("mutant", bugs.all, ids=repr)
def test_a_named_case_catches_that(mutant: Mutant, make_store: MakeStore) -> None:
    check(mutant, make_store)
