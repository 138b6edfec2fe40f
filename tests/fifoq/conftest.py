"""A Fifoq on the memory backend, with tasks of three kinds: keyed, plain, and one that fails and halts its key."""

from typing import Any

import pytest

from fifoq import Fifoq, GiveUp


def make(**settings: Any) -> Fifoq:
    tasks = Fifoq("memory://", **settings)

    @tasks.task(key="line", queue="lines")
    async def append(line: str, n: int = 0) -> int:
        return n

    @tasks.task
    def double(n: int) -> int:
        return 2 * n

    @tasks.task(retry=1, queue="fragile", key="key", after_failure="halt")
    async def fail(key: str = "k") -> None:
        raise GiveUp("no way")

    return tasks


@pytest.fixture
def tasks() -> Fifoq:
    return make()
