"""
The bugs by which other queues lose the order of claims, within a key and between keys, planted in the memory backend
one at a time. Each is caught by the named cases of the kit.
"""

from typing import Any

import pytest

from fifoq.record import Fail, Retry
from fifoq.testing.contract.lease import LeaseCases
from fifoq.testing.contract.limits import LimitCases
from fifoq.testing.contract.order import OrderCases
from fifoq.testing.contract.priority import PriorityCases
from fifoq.testing.contract.removal import RemovalCases
from fifoq.testing.contract.settle import SettleCases
from fifoq.testing.mutation import MakeStore, Mutant, Mutants, after, check
from fifoq_memory import claim, operations, settle
from fifoq_memory.jobs import END, Job, Line, TaskGate
from fifoq_memory.queue_state import WAITING, QueueState

bugs = Mutants()


def to_the_end(state: QueueState, job: Job) -> None:
    """Move a waiting job to the end of the line."""
    job.task.withdraw(job)
    if job.line is not None:
        state.depart(job, job.line)
    state.arrive_late(job)


@bugs.caught_by(OrderCases.test_a_retry_holds_the_line, OrderCases.test_many_jobs_over_few_keys_keep_every_order)
def a_retry_goes_to_the_end_of_the_line(patch: pytest.MonkeyPatch) -> None:
    """BullMQ's groups, Graphile Worker, quorum queues: A-B-C becomes B-C-A."""

    def then(state: QueueState, _: int, job: Job, outcome: Any) -> None:
        if isinstance(outcome, Retry) and job.state is WAITING:
            to_the_end(state, job)

    after(patch, settle, "_settle_otherwise", then)


@bugs.caught_by(SettleCases.test_a_released_job_goes_before_its_successors)
def a_release_goes_to_the_end_of_the_line(patch: pytest.MonkeyPatch) -> None:
    def then(state: Any, _: int, job: Any, *__: Any) -> None:
        if job.state is WAITING:
            to_the_end(state, job)

    after(patch, settle, "_put_back", then)


@bugs.caught_by(LeaseCases.test_a_job_whose_lease_ended_is_claimable_at_its_place)
def a_crash_goes_to_the_end_of_the_line(patch: pytest.MonkeyPatch) -> None:
    """SAQ: the jobs of a dead worker come back behind their successors."""
    after(patch, settle, "_end_lease", lambda state, job, _: to_the_end(state, job))


@bugs.caught_by(OrderCases.test_the_successors_of_a_job_that_backs_off_wait)
def a_job_that_backs_off_lets_its_successors_pass(patch: pytest.MonkeyPatch) -> None:
    """The line is kept in the order of due times: RQ, arq, Inngest."""

    def then(state: QueueState, job: Job, _: int, wait: int) -> None:
        if wait > 0 and job.line is not None:
            state.depart(job, job.line)

    after(patch, QueueState, "put_back", then)


@bugs.caught_by(OrderCases.test_a_failure_that_halts_keeps_the_key_closed)
def a_halt_frees_the_key(patch: pytest.MonkeyPatch) -> None:
    real = settle._settle_otherwise

    def planted(state: QueueState, now: int, job: Job, outcome: Any) -> None:
        real(state, now, job, outcome._replace(halt=False) if isinstance(outcome, Fail) else outcome)

    patch.setattr(settle, "_settle_otherwise", planted)


@bugs.caught_by(OrderCases.test_a_halted_job_requeued_resumes_at_its_place)
def a_halted_job_is_requeued_at_the_end(patch: pytest.MonkeyPatch) -> None:
    """Azure Service Bus: resubmission from the dead letters loses the place."""
    real = operations.requeue

    def requeue(state: QueueState, id: str) -> Any:
        job = state.jobs.get(id)
        halted = job is not None and job.halted
        reply = real(state, id)
        if job is not None and halted:
            to_the_end(state, job)
        return reply

    patch.setattr(operations, "requeue", requeue)


@bugs.caught_by(OrderCases.test_a_failed_job_requeued_enters_at_the_end_of_the_line)
def a_failed_job_is_requeued_at_its_old_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(QueueState, "arrive_late", lambda state, job: state.arrive(job, job.seq or job.entry))


@bugs.caught_by(
    OrderCases.test_one_claim_never_takes_two_jobs_of_a_key, OrderCases.test_at_most_one_job_of_a_key_is_leased
)
def a_claim_prefetches_the_second_of_a_key(patch: pytest.MonkeyPatch) -> None:
    """Graphile's local queue, Service Bus prefetch: a buffer that ignores the key breaks it."""

    def then(_: QueueState, job: Job, __: int) -> None:
        if job.line is not None and job.ahead is job.line.head and job.due_at is None:
            job.task.offer(job)

    after(patch, QueueState, "arrive", then)


@bugs.caught_by(RemovalCases.test_cancelling_in_the_middle_of_a_line_closes_the_gap)
def a_line_waits_for_the_next_number_without_gaps(patch: pytest.MonkeyPatch) -> None:
    """glide-mq: a gate on a dense sequence is shut for ever on the day that a job is removed."""
    numbers: dict[int, int] = {}
    joined: dict[str, int] = {}
    passed: dict[str, int] = {}
    real = QueueState.offer

    def arrive(_: QueueState, job: Job, __: int) -> None:
        numbers[job.entry] = joined[job.spec.key or ""] = joined.get(job.spec.key or "", 0) + 1

    def offer(state: QueueState, job: Job) -> None:
        if job.line is None or numbers.get(job.entry, 1) == passed.get(job.line.key, 0) + 1:
            real(state, job)

    def free(_: QueueState, job: Job) -> None:
        passed[job.spec.key or ""] = passed.get(job.spec.key or "", 0) + 1

    after(patch, QueueState, "arrive", arrive)
    after(patch, QueueState, "free", free)
    patch.setattr(QueueState, "offer", offer)


@bugs.caught_by(
    OrderCases.test_a_blocked_key_hides_no_other,
    LimitCases.test_jobs_over_a_limit_do_not_hide_others,
)
def a_claim_looks_at_the_first_twenty_jobs_only(patch: pytest.MonkeyPatch) -> None:
    """SQS (120,000), groupmq (20): blocked jobs are in the structure that is scanned."""
    real = claim._open_gates

    def open_gates(state: QueueState, *rest: Any) -> Any:
        waiting = sorted((job for job in state.jobs.values() if job.state is WAITING), key=lambda job: job.score)
        members = {score for task in state.tasks.values() if task.room(0, 1) for score in task.ready.members}
        return real(state, *rest) if any(job.score in members for job in waiting[:20]) else []

    patch.setattr(claim, "_open_gates", open_gates)


@bugs.caught_by(OrderCases.test_a_key_spans_tasks)
def a_key_is_of_one_task(patch: pytest.MonkeyPatch) -> None:
    real = QueueState.arrive

    def arrive(state: QueueState, job: Job, seq: int) -> None:
        spec = job.spec
        if spec.key is not None:
            job.spec = spec._replace(key=f"{spec.task} {spec.key}")
        real(state, job, seq)
        job.spec = spec

    patch.setattr(QueueState, "arrive", arrive)


@bugs.caught_by(PriorityCases.test_priority_never_reorders_a_key)
def priority_reorders_a_key(patch: pytest.MonkeyPatch) -> None:
    """procrastinate, BullMQ, pg-boss before its fix."""
    real = Line.join

    def join(line: Line, job: Job) -> None:
        behind = [one for one in line if one.state is WAITING and one.spec.priority < job.spec.priority]
        for one in behind:
            one.task.withdraw(one)
            line.leave(one)
        for one in (job, *behind):
            real(line, one)

    patch.setattr(Line, "join", join)


@bugs.caught_by(PriorityCases.test_a_key_counts_with_the_priority_of_its_head)
def a_key_counts_with_its_highest_priority(patch: pytest.MonkeyPatch) -> None:
    real = TaskGate.offer

    def offer(gate: TaskGate, job: Job) -> None:
        highest = max((one.spec.priority for one in job.line or ()), default=job.spec.priority)
        job.score -= (highest - job.spec.priority) << 48
        real(gate, job)

    patch.setattr(TaskGate, "offer", offer)
    after(patch, QueueState, "arrive", lambda state, job, _: job.line and state.offer_head(job.line))


@bugs.caught_by(PriorityCases.test_the_oldest_goes_first_with_and_without_keys)
def jobs_without_a_key_go_first(patch: pytest.MonkeyPatch) -> None:
    """BullMQ: ungrouped jobs before all groups."""
    real = TaskGate.offer

    def offer(gate: TaskGate, job: Job) -> None:
        if job.line is not None:
            job.score += 1 << 40
        real(gate, job)

    patch.setattr(TaskGate, "offer", offer)


@bugs.caught_by(PriorityCases.test_a_key_returns_to_its_age_after_each_job)
def keys_take_turns(patch: pytest.MonkeyPatch) -> None:
    """A key that was served goes behind the others: fair, and not oldest first."""
    real = QueueState.depart

    def depart(state: QueueState, job: Job, line: Line) -> None:
        for one in line:
            if one is not job:
                one.score += 1 << 40
        real(state, job, line)

    patch.setattr(QueueState, "depart", depart)


@bugs.caught_by(PriorityCases.test_the_oldest_goes_first_over_tasks_and_values)
def a_claim_takes_all_it_can_of_one_task(patch: pytest.MonkeyPatch) -> None:
    """A batch that is read from one list at a time."""
    real = claim._lease_run
    patch.setattr(claim, "_lease_run", lambda state, gate, most, _, *rest: real(state, gate, most, END, *rest))


@pytest.mark.parametrize("mutant", bugs.all, ids=repr)
def test_a_named_case_catches_that(mutant: Mutant, make_store: MakeStore) -> None:
    check(mutant, make_store)
