"""Queues and tasks are registered once, by name, in a consistent order."""

import pytest

from fifoq import Fifoq, Limit
from fifoq.errors import ConfigurationError
from tests.fifoq.task.conftest import play


def test_two_tasks_of_one_name_are_refused_with_both_places() -> None:
    tasks = Fifoq("memory://")
    tasks.task(play)
    with pytest.raises(ConfigurationError, match=r"named 'play': .*play and .*play"):
        tasks.task(queue="other")(play)
    tasks.task(name="play again")(play)
    assert list(tasks.tasks) == ["play", "play again"]


def test_a_queue_is_declared_once_before_its_tasks_if_it_is_ordered() -> None:
    tasks = Fifoq("memory://")
    tasks.queue("a", limit=3)
    with pytest.raises(ConfigurationError, match="declared twice"):
        tasks.queue("a")
    tasks.task(queue="b")(play)
    with pytest.raises(ConfigurationError, match=r"after its tasks \(play\)"):
        tasks.queue("b", ordered=True)
    with pytest.raises(ConfigurationError, match="by an argument"):
        tasks.queue("c", limit=Limit(1, by="x"))
    with pytest.raises(ConfigurationError, match="no braces"):
        tasks.queue("{c}")
    assert tasks.queues == ("a", "b")
