"""Jobs done twice, and settlements that should not have stood: planted faults and their clean twins."""

from typing import Any

from fifoq.record import State
from fifoq.testing.history import (
    Doubted,
    How,
    Report,
    Requeued,
    Rule,
)

Q = "q"


def assert_only(report: Report, *rules: Rule) -> None:
    assert report.rules == set(rules), str(report)


def test_a_job_that_returned_is_not_run_again(story: Any) -> None:
    story.put("a")
    story.run("a", 1)
    story.run("a", 2, attempt=2)
    story.final("a")
    report = story.check()
    assert_only(report, Rule.DUPLICATED)
    assert "fence 1" in str(report)
    assert "fence 2" in str(report)


def test_a_retry_of_a_job_that_raised_is_no_duplicate(story: Any) -> None:
    story.put("a")
    story.run("a", 1, how=How.RAISED)
    story.run("a", 2, attempt=2, how=How.STOPPED)
    story.run("a", 3, attempt=2)
    story.final("a")
    assert story.check().ok


def test_work_may_be_done_again_only_where_a_fault_put_it_in_doubt(story: Any) -> None:
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


def test_an_attempt_settled_before_the_fault_is_not_in_doubt(story: Any) -> None:
    story.put("a")
    story.run("a", 1, worker="killed")
    story.settle("a", 1, State.SUCCEEDED)
    story.add(Doubted(story.tick(), "killed"))
    story.run("a", 2, attempt=2)
    story.final("a")
    assert_only(story.check(), Rule.DUPLICATED)


def test_an_attempt_begun_after_the_fault_is_not_in_doubt(story: Any) -> None:
    story.put("a")
    story.add(Doubted(story.tick(), "w", until=story.tick()))
    story.run("a", 1)
    story.run("a", 2, attempt=2)
    story.final("a")
    assert_only(story.check(), Rule.DUPLICATED)


def test_a_job_that_was_requeued_may_run_again(story: Any) -> None:
    story.put("a", "b")
    story.run("a", 1)
    story.settle("a", 1, State.FAILED)
    story.run("b", 2)
    story.add(Requeued(story.tick(), Q, "a"))
    story.run("a", 3)
    story.settle("a", 3, State.SUCCEEDED)
    story.final("a", "b")
    assert story.check().ok


def test_two_effects_in_one_attempt_are_reported(story: Any) -> None:
    story.put("a")
    story.start("a", 1)
    story.effect("a", 1)
    story.effect("a", 1)
    story.end("a", 1)
    story.final("a")
    assert_only(story.check(), Rule.DUPLICATED)


def test_a_stale_settlement_that_stood_is_reported(story: Any) -> None:
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


def test_a_settlement_that_was_repeated_is_judged_by_when_it_was_first_sent(story: Any) -> None:
    story.put("a")
    story.run("a", 1, how=How.RAISED)
    asked_at = story.tick()
    story.run("a", 2, attempt=2)
    story.settle("a", 1, State.WAITING, asked_at=asked_at)
    story.final("a")
    assert story.check().ok


def test_a_job_that_ended_twice_is_reported(story: Any) -> None:
    story.put("a")
    story.run("a", 1, how=How.RAISED)
    story.settle("a", 1, State.FAILED)
    story.run("a", 2, attempt=2)
    story.settle("a", 2, State.SUCCEEDED)
    story.final("a")
    assert_only(story.check(), Rule.SETTLE)


def test_a_store_that_differs_from_the_reply_is_reported(story: Any) -> None:
    story.put("a")
    story.run("a", 1)
    story.settle("a", 1, State.SUCCEEDED)
    story.final("a", state=State.FAILED)
    assert_only(story.check(), Rule.SETTLE)
