"""Order of producers, retries that hold the line, seqs and entries: planted faults and their clean twins."""

from copy import deepcopy
from typing import Any

from fifoq.record import State
from fifoq.testing.history import (
    Answer,
    Final,
    How,
    Report,
    Rule,
)

Q = "q"


def assert_only(report: Report, *rules: Rule) -> None:
    assert report.rules == set(rules), str(report)


def test_a_job_that_was_acknowledged_first_runs_first(story: Any) -> None:
    story.put("a", producer="p1")
    story.put("b", producer="p2")
    story.run("b", 1)
    story.run("a", 2)
    story.final("a", "b")
    report = story.check()
    assert_only(report, Rule.ORDER)
    assert report.violations[0].jobs == ("b", "a")


def test_calls_of_two_producers_that_overlap_may_enter_either_way(story: Any) -> None:
    a, b = story.ask("a", producer="p1"), story.ask("b", producer="p2")
    story.answer("a", a, producer="p1")
    story.answer("b", b, producer="p2")
    story.run("b", 1)
    story.run("a", 2)
    story.final("a", "b")
    assert story.check().ok


def test_calls_of_one_producer_that_overlap_keep_their_order(story: Any) -> None:
    a, b = story.ask("a"), story.ask("b")
    story.answer("b", b)
    story.answer("a", a)
    story.run("b", 1)
    story.run("a", 2)
    story.final("a", "b")
    report = story.check()
    assert_only(report, Rule.ORDER)
    assert "producer p" in str(report)


def test_jobs_of_different_keys_and_unkeyed_ones_run_in_any_order(story: Any) -> None:
    story.put("a", key="k1")
    story.put("b", key="k2")
    story.put("c", "d", key=None)
    for fence, job in enumerate("dcba", 1):
        story.run(job, fence)
    story.final(*"abcd")
    assert story.check().ok


def test_a_job_that_never_ran_is_overtaken_by_its_successor(story: Any) -> None:
    story.put("a", "b")
    story.run("b", 1)
    story.final("a", state=State.WAITING)
    story.final("b")
    assert_only(story.check(), Rule.ORDER, Rule.STUCK)


def test_a_delayed_job_enters_when_it_falls_due(story: Any) -> None:
    story.answer("a", story.ask("a", delayed=True))
    story.put("b")
    story.run("b", 1)
    story.run("a", 2)
    story.final("a", "b")
    assert story.check().ok


def test_a_retry_holds_the_line(story: Any) -> None:
    story.put("a", "b")
    story.run("a", 1, how=How.RAISED)
    story.run("b", 2)
    story.run("a", 3, attempt=2)
    story.final("a", "b")
    report = story.check()
    assert_only(report, Rule.ORDER)
    assert "had to run again" in str(report)


def test_a_repeated_enqueue_takes_the_place_of_the_first(story: Any) -> None:
    story.answer("a", story.ask("a", producer="p1"), Answer.UNKNOWN, producer="p1")
    story.put("b", producer="p2")
    story.answer("a", story.ask("a", producer="p1"), Answer.REPEATED, producer="p1")
    for first, second in (("a", "b"), ("b", "a")):
        twin = deepcopy(story)
        twin.run(first, 1)
        twin.run(second, 2)
        twin.final("a", "b")
        assert twin.check().ok


def test_the_seq_never_falls_within_a_key(story: Any) -> None:
    a, b = story.ask("a", producer="p1"), story.ask("b", producer="p2")
    story.answer("a", a, producer="p1")
    story.answer("b", b, producer="p2")
    story.run("b", 1, seq=2)
    story.run("a", 2, seq=1)
    story.final("a", "b")
    assert_only(story.check(), Rule.ORDER)


def test_entries_are_in_the_order_of_calls_whatever_the_keys(story: Any) -> None:
    story.put("a", key="k1")
    story.put("b", key=None)
    story.run("b", 1)
    story.run("a", 2)
    story.events += [Final(Q, "a", State.SUCCEEDED, entry=1), Final(Q, "b", State.SUCCEEDED, entry=2)]
    assert story.check().ok
    story.events[-2:] = [Final(Q, "a", State.SUCCEEDED, entry=2), Final(Q, "b", State.SUCCEEDED, entry=1)]
    assert_only(story.check(), Rule.ORDER)
