"""
The bugs by which other queues lose jobs or run them twice, planted in the memory backend one at a time. Each is caught
by the named cases of the kit.
"""

import asyncio
import time
from contextlib import nullcontext
from typing import Any

import pytest

from fifoq.errors import OutcomeUnknown
from fifoq.queue import Call
from fifoq.record import Claimed, Hold, JobSpec, Release, State
from fifoq.testing.contract.lease import LeaseCases
from fifoq.testing.contract.race import CancelledCallCases, RaceCases
from fifoq.testing.contract.repeat import RepeatCases
from fifoq.testing.contract.settle import SettleCases
from fifoq.testing.mutation import MakeStore, Mutant, Mutants, after, check
from fifoq_memory import claim, operations, settle
from fifoq_memory.jobs import Job
from fifoq_memory.queue import MemoryQueue, Replies
from fifoq_memory.queue_state import RUNNING, WAITING, QueueState

bugs = Mutants()


@bugs.caught_by(LeaseCases.test_a_stale_token_settles_nothing, LeaseCases.test_a_settled_lease_is_over)
def a_job_is_settled_without_its_token(patch: pytest.MonkeyPatch) -> None:
    """asynq, groupmq, procrastinate: finish by id, so that a stale worker finishes another's attempt."""
    real = settle._settle

    def planted(state: QueueState, now: int, id: str, token: str, outcome: Any) -> Any:
        job = state.jobs.get(id)
        if job is not None and job.state is WAITING:
            job.state, job.token = RUNNING, token
            state.gate.running += 1
            job.task.running += 1
        return real(state, now, id, (job and job.token) or token, outcome)

    patch.setattr(settle, "_settle", planted)


@bugs.caught_by(LeaseCases.test_a_stale_token_extends_nothing)
def a_lease_is_extended_without_its_token(patch: pytest.MonkeyPatch) -> None:
    real = settle._extend

    def extend(state: QueueState, now: int, extension: Any) -> Any:
        token = state.jobs[extension.id].token if extension.id in state.jobs else None
        return real(state, now, extension._replace(token=token or extension.token))

    patch.setattr(settle, "_extend", extend)


@bugs.caught_by(LeaseCases.test_every_claim_makes_a_fresh_token, LeaseCases.test_a_stale_token_settles_nothing)
def a_token_is_used_again(patch: pytest.MonkeyPatch) -> None:
    real = claim.claim

    def planted(state: QueueState, *rest: Any) -> Claimed:
        reply = real(state, *rest)
        leases = [lease._replace(token=f"token of {lease.spec.id}") for lease in reply.leases]
        for lease in leases:
            state.jobs[lease.spec.id].token = lease.token
        return reply._replace(leases=tuple(leases))

    patch.setattr(claim, "claim", planted)


@bugs.caught_by(LeaseCases.test_fences_rise_over_jobs_callers_and_reopenings)
def a_fence_is_the_number_of_leases_held(patch: pytest.MonkeyPatch) -> None:
    def then(state: QueueState, *_: Any) -> None:
        state.fence = state.gate.running

    after(patch, settle, "_settle", then)


@bugs.caught_by(LeaseCases.test_every_ended_lease_counts_a_crash_and_nothing_is_decided)
def a_crash_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    """Celery, huey: a poison job is run for ever."""
    after(patch, settle, "_end_lease", lambda _, job, __: setattr(job, "crashes", 0))


@bugs.caught_by(LeaseCases.test_every_ended_lease_counts_a_crash_and_nothing_is_decided)
def a_store_gives_up_on_a_job_by_itself(patch: pytest.MonkeyPatch) -> None:
    def then(state: QueueState, job: Job, now: int) -> None:
        if job.crashes > 3:
            state.end(job, State.FAILED, now, 0)

    after(patch, settle, "_end_lease", then)


@bugs.caught_by(LeaseCases.test_a_lease_past_its_end_is_good_until_it_is_taken_back)
def a_lease_past_its_end_is_refused(patch: pytest.MonkeyPatch) -> None:
    real = settle._settle

    def planted(state: QueueState, now: int, id: str, *rest: Any) -> Any:
        job = state.jobs.get(id)
        return None if job and job.lease_end and job.lease_end <= now else real(state, now, id, *rest)

    patch.setattr(settle, "_settle", planted)


@bugs.caught_by(LeaseCases.test_extending_holds_the_lease)
def an_extension_holds_nothing(patch: pytest.MonkeyPatch) -> None:
    """BullMQ with a blocked loop, Celery's visibility timeout: run again while it runs."""

    def extend(state: QueueState, _: int, extension: Any) -> Hold:
        job = state.jobs.get(extension.id)
        return Hold.HELD if job is not None and job.token == extension.token else Hold.LOST

    patch.setattr(settle, "_extend", extend)


@bugs.caught_by(SettleCases.test_a_release_gives_the_attempt_back)
def a_release_counts_an_attempt(patch: pytest.MonkeyPatch) -> None:
    def then(_: QueueState, __: int, job: Job, outcome: Any) -> None:
        job.attempt += isinstance(outcome, Release)

    after(patch, settle, "_settle_otherwise", then)


@bugs.caught_by(SettleCases.test_a_retry_counts_its_attempt)
def a_retry_counts_no_attempt(patch: pytest.MonkeyPatch) -> None:
    after(patch, QueueState, "put_back", lambda _, job, *__: setattr(job, "attempt", max(0, job.attempt - 1)))


@bugs.caught_by(SettleCases.test_a_requeued_job_is_as_if_never_tried)
def a_requeue_keeps_the_attempts(patch: pytest.MonkeyPatch) -> None:
    def forget(job: Job) -> None:
        job.state, job.halted, job.kept_until, job.finished_at = WAITING, False, None, None

    patch.setattr(operations, "_forget_tries", forget)


def forgetting(patch: pytest.MonkeyPatch, verb: str) -> None:
    """Let a repeat of the verb be a new call."""
    real = Replies.recall

    def recall(replies: Replies, call: Call) -> Any:
        reply = real(replies, call)
        return None if replies._verb == verb else reply

    patch.setattr(Replies, "recall", recall)


@bugs.caught_by(RepeatCases.test_a_put_repeated_after_its_jobs_ran_and_are_gone_enters_nothing)
def a_repeated_put_enters_its_jobs_again(patch: pytest.MonkeyPatch) -> None:
    """Ids alone do not save a put whose jobs have run and are gone."""
    forgetting(patch, "put")


@bugs.caught_by(
    RepeatCases.test_a_claim_repeated_gives_the_same_leases_and_claims_nothing,
    RepeatCases.test_an_empty_claim_repeated_stays_empty,
    RepeatCases.test_lost_replies_change_nothing_that_a_caller_can_see,
)
def a_repeated_claim_claims_again(patch: pytest.MonkeyPatch) -> None:
    """RQ, Celery: a job that was popped when the reply was lost is held by no worker."""
    forgetting(patch, "claim")


@bugs.caught_by(RepeatCases.test_a_settle_repeated_gives_the_first_reply)
def a_repeated_settle_is_refused(patch: pytest.MonkeyPatch) -> None:
    forgetting(patch, "settle")


@bugs.caught_by(RepeatCases.test_a_refusal_repeated_stays_a_refusal)
def a_refusal_is_not_remembered(patch: pytest.MonkeyPatch) -> None:
    real = Replies.keep

    def keep(replies: Replies, call: Call, reply: Any, now: int) -> None:
        if not (replies._verb == "put" and any(hasattr(one, "capacity") for one in reply)):
            real(replies, call, reply, now)

    patch.setattr(Replies, "keep", keep)


@bugs.caught_by(RepeatCases.test_an_overtaken_call_is_refused_and_changes_nothing)
def a_late_duplicate_takes_effect(patch: pytest.MonkeyPatch) -> None:
    real = Replies.recall

    def recall(replies: Replies, call: Call) -> Any:
        try:
            return real(replies, call)
        except OutcomeUnknown:
            return None

    patch.setattr(Replies, "recall", recall)


@bugs.caught_by(RepeatCases.test_a_reply_is_remembered_for_an_hour_whatever_is_purged)
def a_purge_forgets_the_replies(patch: pytest.MonkeyPatch) -> None:
    after(patch, Replies, "forget", lambda replies, _: replies._last.clear())


@bugs.caught_by(CancelledCallCases.test_a_cancelled_claim_repeated_hands_out_its_jobs)
def a_cancelled_claim_loses_its_jobs(patch: pytest.MonkeyPatch) -> None:
    """An await between the change and its reply: the jobs are leased, and no caller gets them."""
    real, keep = MemoryQueue.claim, Replies.keep

    async def planted(queue: MemoryQueue, call: Call, *rest: Any) -> Claimed:
        kept: list[Any] = []
        patch.setattr(Replies, "keep", lambda *arguments: kept.append(arguments))
        reply = await real(queue, call, *rest)
        patch.setattr(Replies, "keep", keep)
        await asyncio.sleep(0)
        for arguments in kept:
            keep(*arguments)
        return reply

    patch.setattr(MemoryQueue, "claim", planted)


@bugs.caught_by(RaceCases.test_raced_puts_each_enter_whole_and_in_their_callers_order)
def calls_of_two_threads_interleave(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryQueue, "_lock", nullcontext(), raising=False)
    real_init, real_enter = MemoryQueue.__init__, QueueState.enter

    def init(queue: MemoryQueue, *rest: Any) -> None:
        real_init(queue, *rest)
        queue._lock = nullcontext()  # type: ignore[assignment]

    def enter(state: QueueState, spec: JobSpec, now: int) -> None:
        time.sleep(0.000_01)
        real_enter(state, spec, now)

    patch.setattr(MemoryQueue, "__init__", init)
    patch.setattr(QueueState, "enter", enter)


@pytest.mark.parametrize("mutant", bugs.all, ids=repr)
def test_a_named_case_catches_that(mutant: Mutant, make_store: MakeStore) -> None:
    check(mutant, make_store)
