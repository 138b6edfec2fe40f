"""Tasks on a connection that takes all puts and stores nothing but their jobs."""

import enum
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fifoq import Task
from fifoq.queue import Queue, Receipt
from fifoq.record import JobSpec
from fifoq.task.definition import TaskSettings, define
from fifoq.task.handle import Producer


class FakeConnection:
    """A connection that accepts all puts, and keeps their jobs."""

    def __init__(self) -> None:
        self.specs: list[JobSpec] = []
        self.waits: list[float] = []

    def producer(self, queue: str) -> Producer:
        return self

    async def put(self, batch: Sequence[JobSpec], wait: float = 0.0) -> tuple[Receipt, ...]:
        self.specs += batch
        self.waits.append(wait)
        return tuple(Receipt(spec.id, True) for spec in batch)

    def queue(self, name: str) -> Queue:
        raise AssertionError

    def run(self, work: Callable[[], Any]) -> Any:
        raise AssertionError


@pytest.fixture
def connection() -> FakeConnection:
    return FakeConnection()


def task_of(function: Callable[..., Any], connection: Any = None, *, ordered: bool = False, **settings: Any) -> Any:
    return Task(define(function, TaskSettings(**settings), ordered=ordered), connection or FakeConnection())


class Colour(enum.Enum):
    RED = "red"


async def play(match_id: str, player: int = 7, at: float = 0.0) -> int:
    return player


async def put_one(task: Any, *args: Any, **kwargs: Any) -> JobSpec:
    await task.enqueue(*args, **kwargs)
    return task._connection.specs[-1]
