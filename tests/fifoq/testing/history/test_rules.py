"""The rules of a history: each reports its planted faults, and passes the same histories without them."""

from copy import deepcopy

import pytest

from fifoq.clock import SECOND
from fifoq.limits import GateSettings, Rate
from fifoq.record import State
from fifoq.testing.history import (
    Answer,
    Doubted,
    Ended,
    Final,
    How,
    Leased,
    Report,
    Requeued,
    Rule,
    Settled,
    Started,
)
from tests.fifoq.testing.history.conftest import Q, Story

RATE = GateSettings.of(rate=Rate(10, burst=2))


def assert_only(report: Report, *rules: Rule) -> None:
    assert report.rules == set(rules), str(report)


def claim(story: Story, job: str, fence: int, until: int) -> None:
    asked_at = story.tick()
    story.add(Leased(story.tick(), Q, job, fence, asked_at, until))


def parallel(story: Story, count: int, **more: object) -> None:
    jobs = [f"{more.get('value', '')}{number}" for number in range(count)]
    story.put(*jobs, key=None)
    fences = range(story.now, story.now + count)
    for job, fence in zip(jobs, fences, strict=True):
        story.start(job, fence, **more)  # type: ignore[arg-type]
    for job, fence in zip(jobs, fences, strict=True):
        story.effect(job, fence)
        story.end(job, fence)
    story.final(*jobs)


def claimed_at(story: Story, *times: int) -> None:
    jobs = [str(time) for time in times]
    story.put(*jobs, key=None)
    for fence, (job, time) in enumerate(zip(jobs, times, strict=True), 1):
        story.run(job, fence, claimed_at=time)
    story.final(*jobs)


class TestLost:
    """A job that was acknowledged, or that succeeded, must have run."""

    def test_a_quiet_run_keeps_every_promise(self, story: Story) -> None:
        story.put("a", "b")
        story.run("a", 1)
        story.run("b", 2)
        story.final("a", "b")
        report = story.check()
        assert report.ok
        assert (report.jobs, report.attempts, report.in_doubt) == (2, 2, 0)
        assert str(report) == "2 jobs, 2 attempts, 0 of them in doubt: every promise was kept"

    def test_an_acknowledged_job_that_is_nowhere_is_lost(self, story: Story) -> None:
        story.put("a", "b")
        story.run("a", 1)
        story.final("a")
        report = story.check()
        assert Rule.LOST in report.rules
        assert [one.jobs for one in report.violations if one.rule is Rule.LOST] == [("b",)]
        assert "job b of 'q', key 'k'" in str(report)

    def test_a_job_of_an_unknown_put_may_be_missing(self, story: Story) -> None:
        story.put("a")
        story.answer("b", story.ask("b"), Answer.UNKNOWN)
        story.ask("c")  # and never answered: the producer died
        story.run("a", 1)
        story.final("a")
        assert story.check().ok

    def test_a_job_that_succeeded_without_running_is_lost(self, story: Story) -> None:
        story.put("a")
        story.final("a")
        assert_only(story.check(), Rule.LOST)

    def test_a_job_that_was_cancelled_in_the_line_need_not_run(self, story: Story) -> None:
        story.put("a", "b")
        story.run("b", 1)
        story.final("a", state=State.CANCELLED)
        story.final("b")
        assert story.check().ok

    def test_a_job_that_succeeded_without_its_effect_is_lost(self, story: Story) -> None:
        story.put("a", "b")
        story.run("a", 1)
        story.start("b", 2)
        story.end("b", 2)
        story.final("a", "b")
        assert_only(story.check(), Rule.LOST)

    def test_an_ended_job_that_is_no_longer_kept_is_not_lost(self, story: Story) -> None:
        story.put("a")
        story.run("a", 1)
        assert story.check().ok

    def test_a_job_that_only_failed_attempts_are_known_of_is_lost(self, story: Story) -> None:
        story.put("a")
        story.run("a", 1, how=How.RAISED)
        assert_only(story.check(), Rule.LOST)


class TestUnexpected:
    """A job that runs must have been enqueued, and each effect must belong to an attempt."""

    def test_a_job_that_was_not_enqueued_is_unexpected(self, story: Story) -> None:
        story.run("ghost", 1)
        story.final("ghost")
        assert_only(story.check(), Rule.UNEXPECTED)

    def test_a_refused_job_that_runs_is_unexpected(self, story: Story) -> None:
        story.answer("a", story.ask("a"), Answer.REFUSED)
        assert story.check().ok
        story.run("a", 1)
        assert_only(story.check(), Rule.UNEXPECTED)

    def test_a_job_that_was_refused_and_then_accepted_may_run(self, story: Story) -> None:
        story.answer("a", story.ask("a"), Answer.REFUSED)
        story.put("a")
        story.run("a", 1)
        assert story.check().ok

    def test_an_effect_under_a_fence_that_never_began_is_unexpected(self, story: Story) -> None:
        story.put("a")
        story.run("a", 1)
        story.effect("a", 7)
        assert_only(story.check(), Rule.UNEXPECTED)

    def test_a_job_may_be_settled_without_having_begun(self, story: Story) -> None:
        story.put("a")
        story.settle("a", 1, State.WAITING)
        story.run("a", 2)
        story.final("a")
        assert story.check().ok


class TestStuck:
    """Every job and every attempt must end."""

    def test_a_job_of_an_unknown_put_that_is_there_must_end(self, story: Story) -> None:
        story.answer("b", story.ask("b"), Answer.UNKNOWN)
        story.final("b", state=State.WAITING)
        assert_only(story.check(), Rule.STUCK)

    @pytest.mark.parametrize("state", [State.SCHEDULED, State.WAITING, State.RUNNING])
    def test_a_job_that_did_not_end_is_stuck(self, story: Story, state: State) -> None:
        story.put("a")
        story.final("a", state=state)
        assert_only(story.check(), Rule.STUCK)

    def test_jobs_behind_a_halted_one_wait_rightly(self, story: Story) -> None:
        story.put("a", "b")
        story.run("a", 1, how=How.RAISED)
        story.final("a", state=State.FAILED, halted=True)
        story.final("b", state=State.WAITING)
        assert story.check().ok

    def test_a_job_behind_another_key_s_halted_one_is_stuck(self, story: Story) -> None:
        story.put("a")
        story.put("b", key="other")
        story.run("a", 1, how=How.RAISED)
        story.final("a", state=State.FAILED, halted=True)
        story.final("b", state=State.WAITING)
        assert_only(story.check(), Rule.STUCK)

    def test_an_attempt_that_never_ended_is_stuck_unless_it_was_killed(self, story: Story) -> None:
        story.put("a")
        story.start("a", 1, worker="killed")
        story.tick()
        story.events.append(Ended(story.now + 2, Q, "a", 2, How.RETURNED))
        story.events.append(Started(story.now + 1, Q, "a", 2, "w", 2, "t"))
        story.final("a")
        assert_only(story.check(), Rule.STUCK, Rule.OVERLAP)
        story.add(Doubted(story.now, "killed"))
        assert story.check().ok


class TestDuplicated:
    """A job that was done must not be done again."""

    def test_a_job_that_returned_is_not_run_again(self, story: Story) -> None:
        story.put("a")
        story.run("a", 1)
        story.run("a", 2, attempt=2)
        story.final("a")
        report = story.check()
        assert_only(report, Rule.DUPLICATED)
        assert "fence 1" in str(report)
        assert "fence 2" in str(report)

    def test_a_retry_of_a_job_that_raised_is_no_duplicate(self, story: Story) -> None:
        story.put("a")
        story.run("a", 1, how=How.RAISED)
        story.run("a", 2, attempt=2, how=How.STOPPED)
        story.run("a", 3, attempt=2)
        story.final("a")
        assert story.check().ok

    def test_work_may_be_done_again_only_where_a_fault_put_it_in_doubt(self, story: Story) -> None:
        story.put("a")
        story.run("a", 1, worker="killed")
        fault = story.tick()
        story.run("a", 2, attempt=2)
        story.final("a")
        assert_only(story.check(), Rule.DUPLICATED)
        story.add(Doubted(fault, "killed"))
        report = story.check()
        assert report.ok
        assert report.in_doubt == 1

    def test_an_attempt_settled_before_the_fault_is_not_in_doubt(self, story: Story) -> None:
        story.put("a")
        story.run("a", 1, worker="killed")
        story.settle("a", 1, State.SUCCEEDED)
        story.add(Doubted(story.tick(), "killed"))
        story.run("a", 2, attempt=2)
        story.final("a")
        assert_only(story.check(), Rule.DUPLICATED)

    def test_an_attempt_begun_after_the_fault_is_not_in_doubt(self, story: Story) -> None:
        story.put("a")
        story.add(Doubted(story.tick(), "w", until=story.tick()))
        story.run("a", 1)
        story.run("a", 2, attempt=2)
        story.final("a")
        assert_only(story.check(), Rule.DUPLICATED)

    def test_a_job_that_was_requeued_may_run_again(self, story: Story) -> None:
        story.put("a", "b")
        story.run("a", 1)
        story.settle("a", 1, State.FAILED)
        story.run("b", 2)
        story.add(Requeued(story.tick(), Q, "a"))
        story.run("a", 3)
        story.settle("a", 3, State.SUCCEEDED)
        story.final("a", "b")
        assert story.check().ok

    def test_two_effects_in_one_attempt_are_reported(self, story: Story) -> None:
        story.put("a")
        story.start("a", 1)
        story.effect("a", 1)
        story.effect("a", 1)
        story.end("a", 1)
        story.final("a")
        assert_only(story.check(), Rule.DUPLICATED)


class TestSettle:
    """Only the newest claim settles a job, once, and the store keeps its reply."""

    def test_a_stale_settlement_that_stood_is_reported(self, story: Story) -> None:
        story.put("a")
        story.start("a", 1, worker="frozen")
        story.add(Doubted(story.tick(), "frozen", until=story.now + 1))
        story.tick()
        story.run("a", 2, attempt=2)
        story.final("a")
        story.settle("a", 1, None)
        assert story.check().ok
        story.settle("a", 1, State.SUCCEEDED)
        report = story.check()
        assert Rule.SETTLE in report.rules
        assert "although attempt 2" in str(report)

    def test_a_settlement_that_was_repeated_is_judged_by_when_it_was_first_sent(self, story: Story) -> None:
        story.put("a")
        story.run("a", 1, how=How.RAISED)
        asked_at = story.tick()
        story.run("a", 2, attempt=2)
        story.settle("a", 1, State.WAITING, asked_at=asked_at)
        story.final("a")
        assert story.check().ok

    def test_a_job_that_ended_twice_is_reported(self, story: Story) -> None:
        story.put("a")
        story.run("a", 1, how=How.RAISED)
        story.settle("a", 1, State.FAILED)
        story.run("a", 2, attempt=2)
        story.settle("a", 2, State.SUCCEEDED)
        story.final("a")
        assert_only(story.check(), Rule.SETTLE)

    def test_a_store_that_differs_from_the_reply_is_reported(self, story: Story) -> None:
        story.put("a")
        story.run("a", 1)
        story.settle("a", 1, State.SUCCEEDED)
        story.final("a", state=State.FAILED)
        assert_only(story.check(), Rule.SETTLE)


class TestLease:
    """A lease is good to its end, and an attempt beyond it is in doubt."""

    def test_a_job_taken_before_its_lease_can_be_over_is_reported(self, story: Story) -> None:
        story.put("a")
        claim(story, "a", 1, until=1_000)
        story.run("a", 1, worker="dies")
        story.now = 500
        story.run("a", 2, attempt=2)
        story.final("a")
        report = story.check()
        assert report.rules == {Rule.LEASE, Rule.DUPLICATED}, str(report)
        assert "before the lease of attempt 1 (fence 1, worker dies) could end" in str(report)

    @pytest.mark.parametrize("how", [How.RAISED, How.STOPPED])
    @pytest.mark.parametrize("ended", [400, 600])
    def test_only_a_worker_that_had_given_a_job_up_before_it_was_taken_excuses_that(
        self, story: Story, how: How, ended: int
    ) -> None:
        story.put("a")
        claim(story, "a", 1, until=1_000)
        story.start("a", 1)
        story.add(Ended(ended, Q, "a", 1, how))
        story.now = 500
        story.run("a", 2, attempt=2)
        story.final("a")
        assert (Rule.LEASE in story.check().rules) is (ended > 500)

    @pytest.mark.parametrize("asked_at", [400, 600])
    def test_only_a_settlement_that_was_sent_before_a_job_was_taken_excuses_that(
        self, story: Story, asked_at: int
    ) -> None:
        story.put("a")
        claim(story, "a", 1, until=1_000)
        story.start("a", 1)
        story.add(Settled(asked_at + 1, Q, "a", 1, asked_at, State.WAITING))
        story.now = 500
        story.run("a", 2, attempt=2)
        story.final("a")
        assert (Rule.LEASE in story.check().rules) is (asked_at > 500)

    def test_a_job_taken_when_its_lease_is_over_was_in_doubt(self, story: Story) -> None:
        story.put("a")
        claim(story, "a", 1, until=1_000)
        story.run("a", 1)
        story.now = 1_000
        story.settle("a", 1, None)
        story.run("a", 2, attempt=2)
        story.settle("a", 2, State.SUCCEEDED)
        story.final("a")
        report = story.check()
        assert report.ok, str(report)
        assert report.in_doubt == 1

    def test_an_extension_counts(self, story: Story) -> None:
        story.put("a")
        claim(story, "a", 1, until=100)
        claim(story, "a", 1, until=1_000)
        story.start("a", 1)
        story.now = 150
        story.run("a", 2, attempt=2)
        story.end("a", 1, How.STOPPED)
        story.final("a")
        assert Rule.OVERLAP in story.check().rules

    @pytest.mark.parametrize("until", [100, 1_000])
    def test_a_worker_that_runs_on_beyond_its_lease_overlaps_only_while_the_lease_is_good(
        self, story: Story, until: int
    ) -> None:
        story.put("a")
        claim(story, "a", 1, until)
        story.start("a", 1)
        story.now = 150
        story.run("a", 2, attempt=2)
        story.now = 200
        story.end("a", 1, How.STOPPED)
        story.final("a")
        assert story.check().ok is (until == 100)

    def test_an_effect_beyond_the_lease_is_stale_once_a_newer_one_is_there(self, story: Story) -> None:
        story.put("a")
        claim(story, "a", 1, until=100)
        story.start("a", 1)
        story.now = 150
        story.run("a", 2, attempt=2)
        story.final("a")
        story.effect("a", 1)
        story.end("a", 1)
        assert story.check().rules == {Rule.FENCE}

    @pytest.mark.parametrize("how", [How.RAISED, How.STOPPED])
    def test_a_job_that_was_put_back_may_run_again_at_once(self, story: Story, how: How) -> None:
        story.put("a", "b")
        claim(story, "a", 1, until=10_000)
        story.start("a", 1)
        story.end("a", 1, how)
        claim(story, "a", 2, until=10_000)
        story.run("a", 2, attempt=2)
        claim(story, "b", 3, until=10_000)
        story.settle("b", 3, State.WAITING)  # the claim came too late to begin it
        claim(story, "b", 4, until=10_000)
        story.run("b", 4)
        story.final("a", "b")
        assert story.check().ok, str(story.check())

    def test_a_worker_that_begins_beyond_its_lease_overlaps_with_no_other(self, story: Story) -> None:
        story.put("a", "b")
        claim(story, "a", 1, until=100)
        story.now = 150
        story.run("a", 2, attempt=2)
        story.start("b", 3)
        story.start("a", 1, worker="frozen")
        story.end("a", 1, How.STOPPED)
        story.effect("b", 3)
        story.end("b", 3)
        story.final("a", "b")
        assert story.check().ok, str(story.check())


class TestOrder:
    """Jobs enter and run in the order of the producers' calls, and a retry holds the line."""

    def test_a_job_that_was_acknowledged_first_runs_first(self, story: Story) -> None:
        story.put("a", producer="p1")
        story.put("b", producer="p2")
        story.run("b", 1)
        story.run("a", 2)
        story.final("a", "b")
        report = story.check()
        assert_only(report, Rule.ORDER)
        assert report.violations[0].jobs == ("b", "a")

    def test_calls_of_two_producers_that_overlap_may_enter_either_way(self, story: Story) -> None:
        a, b = story.ask("a", producer="p1"), story.ask("b", producer="p2")
        story.answer("a", a, producer="p1")
        story.answer("b", b, producer="p2")
        story.run("b", 1)
        story.run("a", 2)
        story.final("a", "b")
        assert story.check().ok

    def test_calls_of_one_producer_that_overlap_keep_their_order(self, story: Story) -> None:
        a, b = story.ask("a"), story.ask("b")
        story.answer("b", b)
        story.answer("a", a)
        story.run("b", 1)
        story.run("a", 2)
        story.final("a", "b")
        report = story.check()
        assert_only(report, Rule.ORDER)
        assert "producer p" in str(report)

    def test_jobs_of_different_keys_and_unkeyed_ones_run_in_any_order(self, story: Story) -> None:
        story.put("a", key="k1")
        story.put("b", key="k2")
        story.put("c", "d", key=None)
        for fence, job in enumerate("dcba", 1):
            story.run(job, fence)
        story.final(*"abcd")
        assert story.check().ok

    def test_a_job_that_never_ran_is_overtaken_by_its_successor(self, story: Story) -> None:
        story.put("a", "b")
        story.run("b", 1)
        story.final("a", state=State.WAITING)
        story.final("b")
        assert_only(story.check(), Rule.ORDER, Rule.STUCK)

    def test_a_delayed_job_enters_when_it_falls_due(self, story: Story) -> None:
        story.answer("a", story.ask("a", delayed=True))
        story.put("b")
        story.run("b", 1)
        story.run("a", 2)
        story.final("a", "b")
        assert story.check().ok

    def test_a_retry_holds_the_line(self, story: Story) -> None:
        story.put("a", "b")
        story.run("a", 1, how=How.RAISED)
        story.run("b", 2)
        story.run("a", 3, attempt=2)
        story.final("a", "b")
        report = story.check()
        assert_only(report, Rule.ORDER)
        assert "had to run again" in str(report)

    def test_a_repeated_enqueue_takes_the_place_of_the_first(self, story: Story) -> None:
        story.answer("a", story.ask("a", producer="p1"), Answer.UNKNOWN, producer="p1")
        story.put("b", producer="p2")
        story.answer("a", story.ask("a", producer="p1"), Answer.REPEATED, producer="p1")
        for first, second in (("a", "b"), ("b", "a")):
            twin = deepcopy(story)
            twin.run(first, 1)
            twin.run(second, 2)
            twin.final("a", "b")
            assert twin.check().ok

    def test_the_seq_never_falls_within_a_key(self, story: Story) -> None:
        a, b = story.ask("a", producer="p1"), story.ask("b", producer="p2")
        story.answer("a", a, producer="p1")
        story.answer("b", b, producer="p2")
        story.run("b", 1, seq=2)
        story.run("a", 2, seq=1)
        story.final("a", "b")
        assert_only(story.check(), Rule.ORDER)

    def test_entries_are_in_the_order_of_calls_whatever_the_keys(self, story: Story) -> None:
        story.put("a", key="k1")
        story.put("b", key=None)
        story.run("b", 1)
        story.run("a", 2)
        story.events += [Final(Q, "a", State.SUCCEEDED, entry=1), Final(Q, "b", State.SUCCEEDED, entry=2)]
        assert story.check().ok
        story.events[-2:] = [Final(Q, "a", State.SUCCEEDED, entry=2), Final(Q, "b", State.SUCCEEDED, entry=1)]
        assert_only(story.check(), Rule.ORDER)


class TestOverlap:
    """Attempts of one key, or of one unkeyed job, must not overlap."""

    def test_attempts_of_one_key_never_overlap(self, story: Story) -> None:
        story.put("a", "b")
        story.start("a", 1)
        story.effect("a", 1)
        story.start("b", 2)
        story.end("a", 1)
        story.effect("b", 2)
        story.end("b", 2)
        story.final("a", "b")
        assert_only(story.check(), Rule.OVERLAP)

    def test_attempts_of_one_unkeyed_job_never_overlap(self, story: Story) -> None:
        story.put("a", key=None)
        story.start("a", 1)
        story.start("a", 2, attempt=2)
        story.end("a", 1, How.STOPPED)
        story.effect("a", 2)
        story.end("a", 2)
        story.final("a")
        assert_only(story.check(), Rule.OVERLAP)

    def test_a_frozen_worker_may_find_that_its_key_went_on(self, story: Story) -> None:
        story.put("a", "b")
        story.start("a", 1, worker="frozen")
        freeze = story.tick()
        story.run("a", 2, attempt=2)
        story.run("b", 3)
        story.end("a", 1, How.STOPPED)
        story.settle("a", 1, None)
        story.final("a", "b")
        assert Rule.OVERLAP in story.check().rules
        story.add(Doubted(freeze, "frozen", until=story.now))
        assert story.check().ok


class TestLimit:
    """Queues, tasks and values run no more than their limits."""

    def test_a_queue_runs_no_more_than_its_limit(self, story: Story) -> None:
        parallel(story, 3)
        assert story.check(queue=GateSettings(limit=3)).ok
        report = story.check(queue=GateSettings(limit=2))
        assert_only(report, Rule.LIMIT)
        assert "ran 3 at a time, its limit is 2: 0, 1, 2" in str(report)

    def test_a_task_runs_no_more_than_its_limit(self, story: Story) -> None:
        parallel(story, 3)
        assert story.check(task=GateSettings(limit=3)).ok
        assert_only(story.check(task=GateSettings(limit=2)), Rule.LIMIT)

    def test_a_value_runs_no_more_than_its_limit(self, story: Story) -> None:
        parallel(story, 2, value="x")
        parallel(story, 3, value="y")
        assert story.check(task=GateSettings(value_limit=3)).ok
        report = story.check(task=GateSettings(value_limit=2))
        assert_only(report, Rule.LIMIT)
        assert "value 'y'" in str(report)

    def test_one_ends_as_the_next_begins_within_a_limit_of_one(self, story: Story) -> None:
        story.put("a", "b", key=None)
        story.run("a", 1)
        story.events.append(Started(story.now, Q, "b", 2, "w", 1, "t"))
        story.effect("b", 2)
        story.end("b", 2)
        story.final("a", "b")
        assert story.check(queue=GateSettings(limit=1)).ok

    def test_a_killed_attempt_holds_its_slot_no_longer(self, story: Story) -> None:
        story.put("a", "b", key=None)
        story.start("a", 1, worker="killed")
        story.add(Doubted(story.tick(), "killed"))
        story.run("b", 2)
        story.run("a", 3, attempt=2)
        story.final("a", "b")
        assert story.check(queue=GateSettings(limit=1)).ok


class TestRate:
    """In no window are more jobs claimed than the rate allows."""

    def test_a_rate_holds_in_every_window(self, story: Story) -> None:
        # 10 a second and a burst of 2: the third within a tenth of a second is one too many.
        claimed_at(story, 0, 1, 100_001, 200_000, 10 * SECOND, 10 * SECOND + 1, 10 * SECOND + 100_000)
        assert story.check(queue=RATE).ok
        assert story.check(task=RATE).ok

    def test_a_claim_before_its_token_is_reported(self, story: Story) -> None:
        claimed_at(story, 0, 1, 99_999)
        assert_only(story.check(queue=RATE), Rule.RATE)
        assert_only(story.check(task=RATE), Rule.RATE)
        assert "1 µs too early" in str(story.check(task=RATE))

    def test_a_rate_that_cannot_be_checked_is_no_success(self, story: Story) -> None:
        story.put("a")
        story.run("a", 1)
        assert_only(story.check(queue=RATE), Rule.RATE)


class TestFence:
    """Fences grow from claim to claim, and no effect has a superseded one."""

    def test_two_claims_never_share_a_fence(self, story: Story) -> None:
        story.put("a")
        story.put("b", key="other")
        story.run("a", 1)
        story.start("b", 1)
        story.final("a", state=State.SUCCEEDED)
        assert Rule.FENCE in story.check().rules

    def test_fences_grow_within_a_key(self, story: Story) -> None:
        story.put("a", "b")
        story.run("a", 2)
        story.run("b", 1)
        story.final("a", "b")
        assert Rule.FENCE in story.check().rules

    def test_fences_grow_in_the_time_of_the_store(self, story: Story) -> None:
        story.put("a", "b", key=None)
        story.run("a", 1, claimed_at=5)
        story.run("b", 2, claimed_at=5)
        story.final("a", "b")
        assert story.check().ok
        story.put("c", key=None)
        story.run("c", 3, claimed_at=4)
        story.final("c")
        assert_only(story.check(), Rule.FENCE)

    def test_a_late_start_of_another_worker_is_no_fault_of_the_fences(self, story: Story) -> None:
        story.put("a", "b", key=None)
        story.run("b", 2, worker="quick")
        story.run("a", 1, worker="slow")
        story.final("a", "b")
        assert story.check().ok

    def test_no_effect_carries_a_superseded_fence(self, story: Story) -> None:
        story.put("a")
        story.start("a", 1, worker="frozen")
        freeze = story.tick()
        story.run("a", 2, attempt=2)
        story.final("a")
        story.add(Doubted(freeze, "frozen", until=story.now))
        story.end("a", 1, How.STOPPED)
        assert story.check().ok
        story.effect("a", 1)
        assert Rule.FENCE in story.check().rules
