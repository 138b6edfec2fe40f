"""
Bugs in pauses and wake-ups, planted in the memory backend one at a time. Each is caught by the named cases of the kit.
"""

import pytest

from fifoq.testing.contract import wait
from fifoq.testing.contract.pause import PauseCases
from fifoq.testing.contract.wait import FinishedCases, WaitCases
from fifoq.testing.mutation import MakeStore, Mutant, Mutants, after, check
from fifoq_memory import claim, operations, settle
from fifoq_memory.jobs import Job
from fifoq_memory.queue import WakeUp
from fifoq_memory.queue_state import WAITING, QueueState

bugs = Mutants()


@bugs.caught_by(PauseCases.test_a_pause_blocks_only_claims)
def a_pause_stops_the_timers(patch: pytest.MonkeyPatch) -> None:
    real = settle.fire
    patch.setattr(claim, "fire", lambda state, now: None if state.gate.paused else real(state, now))


@bugs.caught_by(
    PauseCases.test_a_key_may_be_paused_before_it_has_jobs,
    PauseCases.test_a_retry_on_a_paused_key_waits_for_the_resume,
)
def a_pause_is_of_the_jobs_that_wait_now(patch: pytest.MonkeyPatch) -> None:
    def offer(state: QueueState, job: Job) -> None:
        if job.due_at is None and job.state is WAITING:
            job.task.offer(job)

    patch.setattr(QueueState, "offer", offer)


@bugs.caught_by(PauseCases.test_a_pause_keeps_the_time_of_its_beginning)
def pausing_again_begins_a_new_pause(patch: pytest.MonkeyPatch) -> None:
    def then(state: QueueState, key: str, now: int) -> None:
        state.lines[key].paused_since = now
        state.update_blocked(state.lines[key])

    after(patch, operations, "_pause", then)


@bugs.caught_by(WaitCases.test_a_put_wakes_a_waiter, WaitCases.test_a_raised_limit_wakes_a_waiter)
def no_waiter_is_woken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wait, "PATIENCE", 0.05)
    patch.setattr(WakeUp, "notify", lambda _: None)


@bugs.caught_by(WaitCases.test_each_put_wakes_a_waiter_again)
def a_waiter_is_woken_once(patch: pytest.MonkeyPatch) -> None:
    """Lost wake-ups: a marker that is set already, a future that is resolved already."""
    patch.setattr(wait, "PATIENCE", 0.05)
    woken: set[int] = set()
    real = WakeUp.notify

    def notify(wake_up: WakeUp) -> None:
        if wake_up.waiters and id(wake_up) not in woken:
            woken.add(id(wake_up))
            real(wake_up)

    patch.setattr(WakeUp, "notify", notify)


@bugs.caught_by(WaitCases.test_the_end_of_a_lease_wakes_a_waiter)
def only_a_put_wakes_a_waiter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wait, "PATIENCE", 0.05)
    after(patch, settle, "settle", lambda state, *_: setattr(state, "notify", False))


@bugs.caught_by(FinishedCases.test_a_waiter_gets_the_record_as_the_job_ends, FinishedCases.test_many_wait_for_many)
def the_end_of_a_job_wakes_no_waiter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wait, "PATIENCE", 0.05)
    after(patch, QueueState, "end", lambda state, *_: state.ended_records.clear())


@bugs.caught_by(FinishedCases.test_a_retry_is_no_end)
def any_end_of_a_lease_is_reported_as_the_end_of_the_job(patch: pytest.MonkeyPatch) -> None:
    after(patch, QueueState, "free", lambda state, job: state.ended_records.append(job.record()))


@pytest.mark.parametrize("mutant", bugs.all, ids=repr)
def test_a_named_case_catches_that(mutant: Mutant, make_store: MakeStore) -> None:
    check(mutant, make_store)
