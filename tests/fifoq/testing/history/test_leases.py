"""What is known of leases: nobody is given a job before its lease is over, and who runs on beyond it is in doubt."""

from typing import Any

import pytest

from fifoq.record import State
from fifoq.testing.history import How, Leased, Rule

Q = "q"


def claim(story: Any, job: str, fence: int, until: int) -> None:
    asked_at = story.tick()
    story.add(Leased(story.tick(), Q, job, fence, asked_at, until))


def test_a_job_taken_before_its_lease_can_be_over_is_reported(story: Any) -> None:
    story.put("a")
    claim(story, "a", 1, until=1_000)
    story.run("a", 1, worker="dies")
    story.now = 500
    story.run("a", 2, attempt=2)
    story.final("a")
    report = story.check()
    assert report.rules == {Rule.LEASE, Rule.DUPLICATED}, str(report)
    assert "before the lease of attempt 1 (fence 1, worker dies) could end" in str(report)


def test_a_job_taken_when_its_lease_is_over_was_in_doubt(story: Any) -> None:
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


def test_an_extension_counts(story: Any) -> None:
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
def test_a_worker_that_runs_on_beyond_its_lease_overlaps_only_while_the_lease_is_good(story: Any, until: int) -> None:
    story.put("a")
    claim(story, "a", 1, until)
    story.start("a", 1)
    story.now = 150
    story.run("a", 2, attempt=2)
    story.now = 200
    story.end("a", 1, How.STOPPED)
    story.final("a")
    assert story.check().ok is (until == 100)


def test_an_effect_beyond_the_lease_is_stale_once_a_newer_one_is_there(story: Any) -> None:
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
def test_a_job_that_was_put_back_may_run_again_at_once(story: Any, how: How) -> None:
    story.put("a", "b")
    claim(story, "a", 1, until=10_000)
    story.start("a", 1)
    story.end("a", 1, how)
    claim(story, "a", 2, until=10_000)
    story.run("a", 2, attempt=2)
    claim(story, "b", 3, until=10_000)
    story.settle("b", 3, State.WAITING)  # it came too late to be begun
    claim(story, "b", 4, until=10_000)
    story.run("b", 4)
    story.final("a", "b")
    assert story.check().ok, str(story.check())


def test_a_worker_that_begins_beyond_its_lease_overlaps_with_no_other(story: Any) -> None:
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
