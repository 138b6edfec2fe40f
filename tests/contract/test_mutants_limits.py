"""
The bugs by which other queues break limits, planted in the memory backend one at a time. Each is caught by the named
cases of the kit.
"""

from typing import Any

import pytest

from fifoq.queue import Declare
from fifoq.testing.contract.limits import LimitCases
from fifoq.testing.mutation import MakeStore, Mutant, Mutants, after, check
from fifoq_memory import claim, operations, settle
from fifoq_memory.jobs import Gate, Job, ReadySet, TaskGate, ValueGate
from fifoq_memory.queue_state import QueueState

bugs = Mutants()


@bugs.caught_by(LimitCases.test_a_crash_leaks_no_slot)
def a_crash_leaks_its_slot(patch: pytest.MonkeyPatch) -> None:
    """The path of expiry forgets the running count: BullMQ's phantom active jobs, RQ, docket."""

    def then(state: QueueState, job: Job, _: int) -> None:
        state.gate.running += 1
        job.task.running += 1

    after(patch, settle, "_end_lease", then)


@bugs.caught_by(LimitCases.test_a_crash_leaks_no_slot)
def a_crash_leaks_the_slot_of_its_value(patch: pytest.MonkeyPatch) -> None:
    real = settle._end_lease

    def end_lease(state: QueueState, job: Job, now: int) -> None:
        if job.value is not None:
            job.value.running += 1
        real(state, job, now)

    patch.setattr(settle, "_end_lease", end_lease)


@bugs.caught_by(
    LimitCases.test_a_second_settle_frees_nothing_twice,
    LimitCases.test_a_stale_settle_after_a_crash_frees_nothing,
)
def a_second_settle_frees_another_slot(patch: pytest.MonkeyPatch) -> None:
    """Solid Queue: a double release let a job with limit 1 run eleven times at once."""

    def then(state: QueueState, _: int, id: str, token: str, __: Any) -> None:
        if id in state.jobs and state.jobs[id].token != token:
            state.gate.running -= 1

    real = settle._settle
    patch.setattr(settle, "_settle", lambda *arguments: (then(*arguments), real(*arguments))[1])


@bugs.caught_by(LimitCases.test_a_job_that_backs_off_holds_no_slot)
def a_job_that_backs_off_holds_its_slot(patch: pytest.MonkeyPatch) -> None:
    """NATS: a delayed negative acknowledgement keeps its place among the pending."""

    def then(state: QueueState, job: Job, _: int, wait: int) -> None:
        if wait > 0:
            state.gate.running += 1

    after(patch, QueueState, "put_back", then)


@bugs.caught_by(LimitCases.test_every_end_of_a_lease_frees_its_slot)
def a_halt_holds_its_slot(patch: pytest.MonkeyPatch) -> None:
    def then(state: QueueState, job: Job, *_: Any) -> None:
        state.gate.running += job.halted

    after(patch, QueueState, "end", then)


@bugs.caught_by(LimitCases.test_a_slot_of_an_outer_limit_is_not_held_while_an_inner_one_is_full)
def a_job_over_its_tasks_limit_holds_a_slot_of_the_queue(patch: pytest.MonkeyPatch) -> None:
    """Hatchet: a slot held while waiting for another is a deadlock."""

    def then(state: QueueState, *_: Any) -> None:
        for task in state.tasks.values():
            state.gate.running += task.limit == task.running and task.ready.first() is not None

    after(patch, claim, "claim", then)


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
def no_job_is_offered_when_a_value_has_room_again(patch: pytest.MonkeyPatch) -> None:
    """A job that waits for a full limit stays there."""
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
    patch.setattr(ReadySet, "first", lambda ready: max(ready.members, default=None))
    patch.setattr(ReadySet, "pop", lambda ready, _=0: ready.members.pop(max(ready.members)) if ready.members else None)


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
def a_value_counts_only_the_leases_since_its_declaration(patch: pytest.MonkeyPatch) -> None:
    def then(gate: Gate) -> None:
        for value in gate.values.values() if isinstance(gate, TaskGate) and hasattr(gate, "values") else ():
            value.running = 0

    after(patch, Gate, "read_settings", then)


@bugs.caught_by(LimitCases.test_an_override_beats_every_declaration_until_it_is_lifted)
def a_declaration_lifts_the_override(patch: pytest.MonkeyPatch) -> None:
    """Every worker that starts puts back what the operator has changed."""
    real = operations._apply

    def apply(state: QueueState, now: int, setting: Any) -> None:
        if isinstance(setting, Declare):
            (state.gate if setting.task is None else state.task(setting.task)).override = None
        real(state, now, setting)

    patch.setattr(operations, "_apply", apply)


@bugs.caught_by(LimitCases.test_an_override_is_of_all_settings_at_once)
def an_override_changes_only_the_settings_it_names(patch: pytest.MonkeyPatch) -> None:
    def then(gate: Gate) -> None:
        if gate.override and gate.declared and gate.limit is None:
            gate.limit = gate.declared.limit

    after(patch, Gate, "read_settings", then)


@pytest.mark.parametrize("mutant", bugs.all, ids=repr)
def test_a_named_case_catches_that(mutant: Mutant, make_store: MakeStore) -> None:
    check(mutant, make_store)
