"""
Bugs by which jobs enter the line at a wrong place or time, or leave it wrongly, planted in the memory backend one at a
time. Each is caught by the named cases of the kit.
"""

from typing import Any

import pytest

from fifoq.record import JobSpec, State
from fifoq.testing.contract.delay import DelayCases
from fifoq.testing.contract.entry import EntryCases
from fifoq.testing.contract.removal import RemovalCases
from fifoq.testing.mutation import MakeStore, Mutant, Mutants, after, check
from fifoq_memory import claim, operations, settle
from fifoq_memory.indexes import TimerIndex
from fifoq_memory.jobs import Job, Line
from fifoq_memory.queue_state import QueueState

bugs = Mutants()


def entering(patch: pytest.MonkeyPatch, change: Any) -> None:
    """Let jobs enter with changed specs, which their records do not show."""
    real = QueueState.enter

    def enter(state: QueueState, spec: JobSpec, now: int) -> None:
        real(state, change(spec), now)
        state.jobs[spec.id].spec = spec

    patch.setattr(QueueState, "enter", enter)


@bugs.caught_by(
    DelayCases.test_a_delayed_job_is_scheduled_outside_the_line,
    DelayCases.test_a_delayed_job_enters_the_line_when_it_falls_due,
)
def a_delayed_job_holds_the_line(patch: pytest.MonkeyPatch) -> None:
    """procrastinate: a job of tomorrow blocks all of its lock today."""
    entering(patch, lambda spec: spec._replace(in_line=True))


@bugs.caught_by(
    DelayCases.test_in_line_a_delayed_job_holds_its_place,
    DelayCases.test_a_delayed_job_behind_others_in_line_waits_for_both,
)
def a_delayed_head_goes_in_the_order_of_due_times(patch: pytest.MonkeyPatch) -> None:
    entering(patch, lambda spec: spec._replace(in_line=False))


@bugs.caught_by(DelayCases.test_delayed_jobs_enter_by_due_time_and_then_by_entry)
def delayed_jobs_enter_in_the_order_of_their_puts(patch: pytest.MonkeyPatch) -> None:
    real = TimerIndex.due
    patch.setattr(TimerIndex, "due", lambda index, now, limit: sorted(real(index, now, limit)))


@bugs.caught_by(DelayCases.test_of_too_many_timers_the_earliest_fire_first)
def of_too_many_timers_those_of_the_oldest_jobs_fire_first(patch: pytest.MonkeyPatch) -> None:
    def due(index: TimerIndex, now: int, limit: int) -> list[int]:
        entries = sorted(entry for entry, at in index.times.items() if at <= now)[:limit]
        for entry in entries:
            index.clear(entry)
        return entries

    patch.setattr(TimerIndex, "due", due)


@bugs.caught_by(DelayCases.test_a_delayed_job_enters_the_line_when_it_falls_due)
def a_delayed_job_enters_at_the_place_of_its_put(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(QueueState, "arrive_late", lambda state, job: state.arrive(job, job.entry))


@bugs.caught_by(DelayCases.test_one_call_fires_so_many_timers_and_the_next_goes_on)
def a_claim_fires_all_timers(patch: pytest.MonkeyPatch) -> None:
    """199,000 jobs due at once stop the store for three seconds."""
    patch.setattr(settle, "MAX_TIMERS", 10**9)


@bugs.caught_by(
    DelayCases.test_the_next_timer_is_returned_and_never_too_late, DelayCases.test_the_end_of_a_lease_is_a_timer
)
def a_claim_returns_no_timer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claim, "_next_timer", lambda *_: None)


@bugs.caught_by(DelayCases.test_a_claimed_job_no_longer_expires)
def a_released_job_still_expires(patch: pytest.MonkeyPatch) -> None:
    real = QueueState.put_back

    def put_back(state: QueueState, job: Job, now: int, wait: int) -> None:
        real(state, job, now, wait)
        if job.spec.expires is not None:
            job.expires_at = job.created_at + job.spec.expires
            state.set_timer(job)

    patch.setattr(QueueState, "put_back", put_back)


@bugs.caught_by(DelayCases.test_a_job_due_and_expired_at_once_is_expired)
def a_job_due_and_expired_at_once_runs(patch: pytest.MonkeyPatch) -> None:
    def fire(state: QueueState, now: int) -> None:
        for entry in state.timers.due(now, 1_000):
            job = state.numbers.get(entry)
            assert job is not None
            if job.due_at is not None:
                settle._fall_due(state, job)
            else:
                job.reason = "expired"
                state.end(job, State.CANCELLED, now, 0)

    patch.setattr(claim, "fire", fire)


@bugs.caught_by(
    EntryCases.test_a_number_is_never_given_out_again_after_its_job_was_removed,
    EntryCases.test_the_last_number_is_not_given_out_again_after_the_last_job_was_cancelled,
)
def numbers_are_given_out_again(patch: pytest.MonkeyPatch) -> None:
    """SQLite without AUTOINCREMENT: the number of a removed last row is used again."""
    real = QueueState.enter

    def enter(state: QueueState, spec: JobSpec, now: int) -> None:
        state.number = max((job.seq or job.entry for job in state.jobs.values()), default=0)
        real(state, spec, now)

    patch.setattr(QueueState, "enter", enter)


@bugs.caught_by(RemovalCases.test_cancelling_a_running_job_only_asks)
def cancelling_a_running_job_frees_its_key(patch: pytest.MonkeyPatch) -> None:
    def then(state: QueueState, _: int, id: str, __: str) -> None:
        job = state.jobs.get(id)
        if job is not None and job.cancel_requested and job.line is not None:
            state.depart(job, job.line)

    after(patch, operations, "cancel", then)


@bugs.caught_by(
    RemovalCases.test_cancelling_a_waiting_head_lets_its_successor_go_at_once,
    RemovalCases.test_cancelling_a_head_that_backs_off_frees_the_key,
)
def a_cancelled_head_keeps_its_key(patch: pytest.MonkeyPatch) -> None:
    real = QueueState.depart

    def depart(state: QueueState, job: Job, line: Line) -> None:
        if job.state is State.CANCELLED:
            line.leave(job)
        else:
            real(state, job, line)

    patch.setattr(QueueState, "depart", depart)


@bugs.caught_by(
    RemovalCases.test_a_retry_of_a_job_asked_to_cancel_ends_it_cancelled,
    RemovalCases.test_a_release_of_a_job_asked_to_cancel_ends_it_cancelled,
)
def a_retry_forgets_a_requested_cancellation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settle, "_put_back", lambda state, now, job, wait, _: state.put_back(job, now, wait))


@bugs.caught_by(RemovalCases.test_the_end_of_the_lease_of_a_job_asked_to_cancel_ends_it)
def a_crash_forgets_a_requested_cancellation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settle, "_end_lease", lambda state, job, now: state.put_back(job, now, 0))


@pytest.mark.parametrize("mutant", bugs.all, ids=repr)
def test_a_named_case_catches_that(mutant: Mutant, make_store: MakeStore) -> None:
    check(mutant, make_store)
