"""Fences: planted faults and their clean twins."""

from typing import Any

from fifoq.record import State
from fifoq.testing.history import (
    Doubted,
    How,
    Report,
    Rule,
)

Q = "q"


def assert_only(report: Report, *rules: Rule) -> None:
    assert report.rules == set(rules), str(report)


def test_two_claims_never_share_a_fence(story: Any) -> None:
    story.put("a")
    story.put("b", key="other")
    story.run("a", 1)
    story.start("b", 1)
    story.final("a", state=State.SUCCEEDED)
    assert Rule.FENCE in story.check().rules


def test_fences_grow_within_a_key(story: Any) -> None:
    story.put("a", "b")
    story.run("a", 2)
    story.run("b", 1)
    story.final("a", "b")
    assert Rule.FENCE in story.check().rules


def test_fences_grow_in_the_time_of_the_store(story: Any) -> None:
    story.put("a", "b", key=None)
    story.run("a", 1, claimed_at=5)
    story.run("b", 2, claimed_at=5)
    story.final("a", "b")
    assert story.check().ok
    story.put("c", key=None)
    story.run("c", 3, claimed_at=4)
    story.final("c")
    assert_only(story.check(), Rule.FENCE)


def test_a_late_start_of_another_worker_is_no_fault_of_the_fences(story: Any) -> None:
    story.put("a", "b", key=None)
    story.run("b", 2, worker="quick")
    story.run("a", 1, worker="slow")
    story.final("a", "b")
    assert story.check().ok


def test_no_effect_carries_a_superseded_fence(story: Any) -> None:
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
