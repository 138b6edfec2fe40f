"""Overlap within a key, limits and rates: planted faults and their clean twins."""

from typing import Any

from fifoq.clock import SECOND
from fifoq.limits import GateSettings, Rate
from fifoq.testing.history import (
    Doubted,
    How,
    Report,
    Rule,
    Started,
)

Q = "q"


def assert_only(report: Report, *rules: Rule) -> None:
    assert report.rules == set(rules), str(report)


def test_attempts_of_one_key_never_overlap(story: Any) -> None:
    story.put("a", "b")
    story.start("a", 1)
    story.effect("a", 1)
    story.start("b", 2)
    story.end("a", 1)
    story.effect("b", 2)
    story.end("b", 2)
    story.final("a", "b")
    assert_only(story.check(), Rule.OVERLAP)


def test_attempts_of_one_unkeyed_job_never_overlap(story: Any) -> None:
    story.put("a", key=None)
    story.start("a", 1)
    story.start("a", 2, attempt=2)
    story.end("a", 1, How.STOPPED)
    story.effect("a", 2)
    story.end("a", 2)
    story.final("a")
    assert_only(story.check(), Rule.OVERLAP)


def test_a_frozen_worker_may_find_that_its_key_went_on(story: Any) -> None:
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


def parallel(story: Any, count: int, **more: object) -> None:
    jobs = [f"{more.get('value', '')}{number}" for number in range(count)]
    story.put(*jobs, key=None)
    fences = range(story.now, story.now + count)
    for job, fence in zip(jobs, fences, strict=True):
        story.start(job, fence, **more)  # type: ignore[arg-type]
    for job, fence in zip(jobs, fences, strict=True):
        story.effect(job, fence)
        story.end(job, fence)
    story.final(*jobs)


def test_a_queue_runs_no_more_than_its_limit(story: Any) -> None:
    parallel(story, 3)
    assert story.check(queue=GateSettings(limit=3)).ok
    report = story.check(queue=GateSettings(limit=2))
    assert_only(report, Rule.LIMIT)
    assert "ran 3 at a time, its limit is 2: 0, 1, 2" in str(report)


def test_a_task_runs_no_more_than_its_limit(story: Any) -> None:
    parallel(story, 3)
    assert story.check(task=GateSettings(limit=3)).ok
    assert_only(story.check(task=GateSettings(limit=2)), Rule.LIMIT)


def test_a_value_runs_no_more_than_its_limit(story: Any) -> None:
    parallel(story, 2, value="x")
    parallel(story, 3, value="y")
    assert story.check(task=GateSettings(value_limit=3)).ok
    report = story.check(task=GateSettings(value_limit=2))
    assert_only(report, Rule.LIMIT)
    assert "value 'y'" in str(report)


def test_one_ends_as_the_next_begins_within_a_limit_of_one(story: Any) -> None:
    story.put("a", "b", key=None)
    story.run("a", 1)
    story.events.append(Started(story.now, Q, "b", 2, "w", 1, "t"))
    story.effect("b", 2)
    story.end("b", 2)
    story.final("a", "b")
    assert story.check(queue=GateSettings(limit=1)).ok


def test_a_killed_attempt_holds_its_slot_no_longer(story: Any) -> None:
    story.put("a", "b", key=None)
    story.start("a", 1, worker="killed")
    story.add(Doubted(story.tick(), "killed"))
    story.run("b", 2)
    story.run("a", 3, attempt=2)
    story.final("a", "b")
    assert story.check(queue=GateSettings(limit=1)).ok


RATE = GateSettings.of(rate=Rate(10, burst=2))


def claimed_at(story: Any, *times: int) -> None:
    jobs = [str(time) for time in times]
    story.put(*jobs, key=None)
    for fence, (job, time) in enumerate(zip(jobs, times, strict=True), 1):
        story.run(job, fence, claimed_at=time)
    story.final(*jobs)


def test_a_rate_holds_in_every_window(story: Any) -> None:
    # 10 a second and a burst of 2: the third within a tenth of a second is one too many.
    claimed_at(story, 0, 1, 100_001, 200_000, 10 * SECOND, 10 * SECOND + 1, 10 * SECOND + 100_000)
    assert story.check(queue=RATE).ok
    assert story.check(task=RATE).ok


def test_a_claim_before_its_token_is_reported(story: Any) -> None:
    claimed_at(story, 0, 1, 99_999)
    assert_only(story.check(queue=RATE), Rule.RATE)
    assert_only(story.check(task=RATE), Rule.RATE)
    assert "1 µs too early" in str(story.check(task=RATE))


def test_a_rate_that_cannot_be_checked_is_no_success(story: Any) -> None:
    story.put("a")
    story.run("a", 1)
    assert_only(story.check(queue=RATE), Rule.RATE)
