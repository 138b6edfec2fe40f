"""
Bugs in ids, records, pages and clocks, planted in the memory backend one at a time. Each is caught by the named cases
of the kit.
"""

from typing import Any

import pytest

from fifoq.testing.contract.clocks import ClockCases
from fifoq.testing.contract.identity import IdentityCases
from fifoq.testing.contract.pages import PageCases
from fifoq.testing.contract.retention import RetentionCases
from fifoq.testing.mutation import MakeStore, Mutant, Mutants, after, check
from fifoq_memory import operations, put
from fifoq_memory.jobs import Job
from fifoq_memory.queue import MemoryQueue
from fifoq_memory.queue_state import WAITING, QueueState

bugs = Mutants()


@bugs.caught_by(
    IdentityCases.test_a_unique_text_is_held_while_scheduled_waiting_backing_off_and_running,
    IdentityCases.test_a_halted_job_holds_its_unique_text_until_it_is_skipped,
)
def a_unique_text_is_held_while_waiting_only(patch: pytest.MonkeyPatch) -> None:
    """procrastinate: recovery then raises for a job that is there twice."""
    real = put._same_unique

    def same_unique(state: QueueState, *rest: Any) -> Any:
        spec = rest[-1]
        holder = state.uniques.get(spec.unique)
        return None if holder is not None and holder.state is not WAITING else real(state, *rest)

    patch.setattr(put, "_same_unique", same_unique)


@bugs.caught_by(IdentityCases.test_an_id_is_taken_in_every_state_as_long_as_its_job_is_kept)
def an_id_is_taken_while_live_only(patch: pytest.MonkeyPatch) -> None:
    real = put._same_id

    def same_id(state: QueueState, fresh: Any, id: str) -> Any:
        job = state.jobs.get(id)
        return None if job is not None and job.state.ended else real(state, fresh, id)

    patch.setattr(put, "_same_id", same_id)


@bugs.caught_by(IdentityCases.test_an_id_with_another_payload_is_a_conflict)
def a_conflict_enters_the_jobs_before_it(patch: pytest.MonkeyPatch) -> None:
    real = put._put_batch

    def put_batch(state: QueueState, now: int, batch: Any) -> Any:
        reply = real(state, now, batch)
        if hasattr(reply, "id"):
            real(state, now, [spec for spec in batch if spec.id != reply.id])
        return reply

    patch.setattr(put, "_put_batch", put_batch)


@bugs.caught_by(IdentityCases.test_a_requeue_against_a_unique_text_is_refused)
def a_requeue_ignores_unique_texts(patch: pytest.MonkeyPatch) -> None:
    real = operations.requeue

    def requeue(state: QueueState, id: str) -> Any:
        holder = state.uniques.pop(state.jobs[id].spec.unique or "", None)
        reply = real(state, id)
        if holder is not None:
            state.uniques[holder.spec.unique or ""] = holder
        return reply

    patch.setattr(operations, "requeue", requeue)


@bugs.caught_by(RetentionCases.test_a_halted_job_is_never_purged)
def a_halted_job_is_purged(patch: pytest.MonkeyPatch) -> None:
    def then(state: QueueState, job: Job, _: Any, now: int, retain: int) -> None:
        if job.halted:
            state.purges.set(job.entry, now + retain)

    after(patch, QueueState, "end", then)


@bugs.caught_by(RetentionCases.test_a_job_is_kept_for_the_longer_time)
def a_job_is_kept_for_the_shorter_time(patch: pytest.MonkeyPatch) -> None:
    real = QueueState.leave

    def leave(state: QueueState, job: Job, now: int) -> None:
        job.retain = min(job.retain, job.spec.retain)
        real(state, job, now)

    patch.setattr(QueueState, "leave", leave)


@bugs.caught_by(RetentionCases.test_a_skipped_job_is_kept_from_its_skip)
def a_skipped_job_is_kept_from_its_failure(patch: pytest.MonkeyPatch) -> None:
    real = operations.skip
    patch.setattr(operations, "skip", lambda state, now, id: real(state, state.jobs[id].finished_at or now, id))


@bugs.caught_by(RetentionCases.test_a_requeued_job_is_not_purged_for_its_earlier_end)
def a_requeued_job_is_purged_for_its_earlier_end(patch: pytest.MonkeyPatch) -> None:
    """arq, RQ: a job is removed as its retention ends, in any state."""
    real, real_remove = operations._reopen, QueueState.remove

    def come_back(state: QueueState, job: Job) -> None:
        end = state.purges.times.get(job.entry)
        real(state, job)
        if end is not None:
            state.purges.set(job.entry, end)

    def remove(state: QueueState, job: Job) -> None:
        if job.state.ended:
            real_remove(state, job)
        else:
            del state.jobs[job.spec.id]

    patch.setattr(operations, "_reopen", come_back)
    patch.setattr(QueueState, "remove", remove)


@bugs.caught_by(RetentionCases.test_accepted_is_the_sum_of_all_the_others_at_every_instant)
def a_job_removed_at_once_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    after(patch, QueueState, "leave", lambda state, job, _: setattr(state, "purged", state.purged - (job.retain == 0)))


@bugs.caught_by(PageCases.test_pages_show_every_record_once_in_order_of_entry)
def a_page_skips_the_record_at_its_edge(patch: pytest.MonkeyPatch) -> None:
    real = operations.find

    def find(state: QueueState, filter: Any, cursor: int, limit: int) -> Any:
        page = real(state, filter, cursor, limit)
        return page._replace(cursor=page.cursor + 1) if page.cursor else page

    patch.setattr(operations, "find", find)


@bugs.caught_by(
    ClockCases.test_set_back_it_runs_on_from_the_last_time_used,
    ClockCases.test_set_back_it_neither_ends_leases_early_nor_keeps_them,
)
def time_goes_back_with_the_clock(patch: pytest.MonkeyPatch) -> None:
    """After a step of two hours a lock of one second lasted for two hours."""
    patch.setattr(MemoryQueue, "_tick", lambda queue: queue._clock.now())


@bugs.caught_by(
    ClockCases.test_set_back_it_runs_on_from_the_last_time_used,
    ClockCases.test_set_back_it_neither_ends_leases_early_nor_keeps_them,
)
def time_stops_until_the_clock_has_caught_up(patch: pytest.MonkeyPatch) -> None:
    def tick(queue: MemoryQueue) -> int:
        queue._last = max(queue._last, queue._clock.now())
        return queue._last

    patch.setattr(MemoryQueue, "_tick", tick)


@pytest.mark.parametrize("mutant", bugs.all, ids=repr)
def test_a_named_case_catches_that(mutant: Mutant, make_store: MakeStore) -> None:
    check(mutant, make_store)
