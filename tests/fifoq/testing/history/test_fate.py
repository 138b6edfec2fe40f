"""Lost, unexpected and stuck jobs: each planted fault is reported, and its clean twin is not."""

from typing import Any

import pytest

from fifoq.record import State
from fifoq.testing.history import (
    Answer,
    Doubted,
    Ended,
    How,
    Report,
    Rule,
    Started,
)

Q = "q"


def assert_only(report: Report, *rules: Rule) -> None:
    assert report.rules == set(rules), str(report)


def test_a_quiet_run_keeps_every_promise(story: Any) -> None:
    story.put("a", "b")
    story.run("a", 1)
    story.run("b", 2)
    story.final("a", "b")
    report = story.check()
    assert report.ok
    assert (report.jobs, report.attempts, report.in_doubt) == (2, 2, 0)
    assert str(report) == "2 jobs, 2 attempts, 0 of them in doubt: every promise was kept"


def test_an_acknowledged_job_that_is_nowhere_is_lost(story: Any) -> None:
    story.put("a", "b")
    story.run("a", 1)
    story.final("a")
    report = story.check()
    assert Rule.LOST in report.rules
    assert [one.jobs for one in report.violations if one.rule is Rule.LOST] == [("b",)]
    assert "job b of 'q', key 'k'" in str(report)


def test_a_job_of_an_unknown_put_may_be_missing(story: Any) -> None:
    story.put("a")
    story.answer("b", story.ask("b"), Answer.UNKNOWN)
    story.ask("c")  # and never answered: the producer died
    story.run("a", 1)
    story.final("a")
    assert story.check().ok


def test_a_job_of_an_unknown_put_that_is_there_must_end(story: Any) -> None:
    story.answer("b", story.ask("b"), Answer.UNKNOWN)
    story.final("b", state=State.WAITING)
    assert_only(story.check(), Rule.STUCK)


def test_a_job_that_succeeded_without_running_is_lost(story: Any) -> None:
    story.put("a")
    story.final("a")
    assert_only(story.check(), Rule.LOST)


def test_a_job_that_was_cancelled_in_the_line_need_not_run(story: Any) -> None:
    story.put("a", "b")
    story.run("b", 1)
    story.final("a", state=State.CANCELLED)
    story.final("b")
    assert story.check().ok


def test_a_job_that_succeeded_without_its_effect_is_lost(story: Any) -> None:
    story.put("a", "b")
    story.run("a", 1)
    story.start("b", 2)
    story.end("b", 2)
    story.final("a", "b")
    assert_only(story.check(), Rule.LOST)


def test_an_ended_job_that_is_no_longer_kept_is_not_lost(story: Any) -> None:
    story.put("a")
    story.run("a", 1)
    assert story.check().ok


def test_a_job_that_only_failed_attempts_are_known_of_is_lost(story: Any) -> None:
    story.put("a")
    story.run("a", 1, how=How.RAISED)
    assert_only(story.check(), Rule.LOST)


def test_a_job_that_was_not_enqueued_is_unexpected(story: Any) -> None:
    story.run("ghost", 1)
    story.final("ghost")
    assert_only(story.check(), Rule.UNEXPECTED)


def test_a_refused_job_that_runs_is_unexpected(story: Any) -> None:
    story.answer("a", story.ask("a"), Answer.REFUSED)
    assert story.check().ok
    story.run("a", 1)
    assert_only(story.check(), Rule.UNEXPECTED)


def test_a_job_that_was_refused_and_then_accepted_may_run(story: Any) -> None:
    story.answer("a", story.ask("a"), Answer.REFUSED)
    story.put("a")
    story.run("a", 1)
    assert story.check().ok


def test_an_effect_under_a_fence_that_never_began_is_unexpected(story: Any) -> None:
    story.put("a")
    story.run("a", 1)
    story.effect("a", 7)
    assert_only(story.check(), Rule.UNEXPECTED)


def test_a_job_may_be_settled_without_having_begun(story: Any) -> None:
    story.put("a")
    story.settle("a", 1, State.WAITING)
    story.run("a", 2)
    story.final("a")
    assert story.check().ok


@pytest.mark.parametrize("state", [State.SCHEDULED, State.WAITING, State.RUNNING])
def test_a_job_that_did_not_end_is_stuck(story: Any, state: State) -> None:
    story.put("a")
    story.final("a", state=state)
    assert_only(story.check(), Rule.STUCK)


def test_jobs_behind_a_halted_one_wait_rightly(story: Any) -> None:
    story.put("a", "b")
    story.run("a", 1, how=How.RAISED)
    story.final("a", state=State.FAILED, halted=True)
    story.final("b", state=State.WAITING)
    assert story.check().ok


def test_a_job_behind_another_key_s_halted_one_is_stuck(story: Any) -> None:
    story.put("a")
    story.put("b", key="other")
    story.run("a", 1, how=How.RAISED)
    story.final("a", state=State.FAILED, halted=True)
    story.final("b", state=State.WAITING)
    assert_only(story.check(), Rule.STUCK)


def test_an_attempt_that_never_ended_is_stuck_unless_it_was_killed(story: Any) -> None:
    story.put("a")
    story.start("a", 1, worker="killed")
    story.tick()
    story.events.append(Ended(story.now + 2, Q, "a", 2, How.RETURNED))
    story.events.append(Started(story.now + 1, Q, "a", 2, "w", 2, "t"))
    story.final("a")
    assert_only(story.check(), Rule.STUCK, Rule.OVERLAP)
    story.add(Doubted(story.now, "killed"))
    assert story.check().ok
