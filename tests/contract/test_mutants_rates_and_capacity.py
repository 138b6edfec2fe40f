"""
The bugs by which other queues break rates and capacities, or scan, planted in the memory backend one at a time. Each is
caught by the named cases of the kit.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from fifoq.clock import SECOND
from fifoq.queue import Full
from fifoq.record import JobSpec, Release
from fifoq.testing.contract.capacity import CapacityCases
from fifoq.testing.contract.cost import CostCases
from fifoq.testing.contract.identity import IdentityCases
from fifoq.testing.contract.rate import RateCases
from fifoq.testing.mutation import MakeStore, Mutant, Mutants, after, check
from fifoq_memory import claim, operations, put, settle
from fifoq_memory.jobs import Gate, Job
from fifoq_memory.queue_state import RUNNING, WAITING, QueueState

bugs = Mutants()


@bugs.caught_by(RateCases.test_a_release_gives_no_token_back)
def a_release_gives_its_token_back(patch: pytest.MonkeyPatch) -> None:
    def then(state: QueueState, _: int, __: Job, outcome: Any) -> None:
        if isinstance(outcome, Release):
            state.gate.tat -= state.gate.interval or 0

    after(patch, settle, "_settle_otherwise", then)


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

    def then(state: QueueState, terms: Any, *_: Any) -> None:
        shut = any(task.ready.first() is not None and not task.room(terms.now, 1) for task in state.tasks.values())
        state.gate.tat = max(state.gate.tat, terms.now) + shut * (state.gate.interval or 0)

    after(patch, claim, "claim", then)


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


@bugs.caught_by(
    CapacityCases.test_repeats_count_nothing,
    CapacityCases.test_a_repeat_is_welcome_where_a_lowered_capacity_is_exceeded,
)
def repeats_count_against_the_capacity(patch: pytest.MonkeyPatch) -> None:
    real = put._put_batch

    def put_batch(state: QueueState, now: int, batch: Sequence[JobSpec]) -> Any:
        capacity = state.gate.settings.capacity
        if capacity is not None and state.live + len(batch) > capacity:
            return Full(None, capacity, state.live, len(batch))
        return real(state, now, batch)

    patch.setattr(put, "_put_batch", put_batch)


@bugs.caught_by(CapacityCases.test_a_batch_fits_as_a_whole_or_not_at_all)
def a_batch_enters_as_far_as_it_fits(patch: pytest.MonkeyPatch) -> None:
    real = put._put_batch

    def put_batch(state: QueueState, now: int, batch: Sequence[JobSpec]) -> Any:
        reply = real(state, now, batch)
        if isinstance(reply, Full):
            real(state, now, batch[: reply.capacity - reply.live])
        return reply

    patch.setattr(put, "_put_batch", put_batch)


@bugs.caught_by(CapacityCases.test_scheduled_waiting_and_running_jobs_count)
def running_jobs_do_not_count_against_the_capacity(patch: pytest.MonkeyPatch) -> None:
    real = QueueState.live.fget
    assert real is not None
    patch.setattr(QueueState, "live", property(lambda state: real(state) - state.gate.running))


@bugs.caught_by(CapacityCases.test_ended_and_halted_jobs_do_not_count)
def ended_jobs_count_against_the_capacity(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(QueueState, "live", property(lambda state: len(state.jobs)))


@bugs.caught_by(CapacityCases.test_a_job_that_expires_makes_room_in_the_same_put)
def a_put_fires_no_timers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(put, "fire", lambda *_: None)


@bugs.caught_by(
    CapacityCases.test_a_mixed_batch_is_refused_for_its_one_full_task,
    CapacityCases.test_a_full_task_refuses_and_others_do_not,
)
def a_task_has_no_capacity(patch: pytest.MonkeyPatch) -> None:
    real = put._full

    def full(state: QueueState, fresh: Any) -> Full | None:
        reply = real(state, fresh)
        return reply if reply and reply.task is None else None

    patch.setattr(put, "_full", full)


@bugs.caught_by(IdentityCases.test_a_conflict_comes_before_a_full_queue)
def a_full_queue_comes_before_a_conflict(patch: pytest.MonkeyPatch) -> None:
    repeats_count_against_the_capacity(patch)


@bugs.caught_by(CostCases.test_no_call_costs_more_for_what_else_there_is)
def a_claim_reads_all_that_waits(patch: pytest.MonkeyPatch) -> None:
    """NOT EXISTS over the backlog: procrastinate, Graphile Worker's first strategy."""

    def then(state: QueueState, *_: Any) -> None:
        for job in state.jobs.values():
            assert job.state is not WAITING or job.score

    after(patch, claim, "claim", then)


@bugs.caught_by(CostCases.test_no_call_costs_more_for_what_else_there_is)
def a_cancel_reads_the_line(patch: pytest.MonkeyPatch) -> None:
    """asynq: LREM over the list."""

    def then(state: QueueState, _: int, id: str, __: str) -> None:
        for job in state.lines.get("deep", ()):
            assert job.spec.id != id or job.state is RUNNING

    after(patch, operations, "cancel", then)


@pytest.mark.parametrize("mutant", bugs.all, ids=repr)
def test_a_named_case_catches_that(mutant: Mutant, make_store: MakeStore) -> None:
    check(mutant, make_store)
