"""Kills a worker in the midst of its work, and sees to it that this was no empty gesture."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from fifoq.cli.demo.log import Entry
from fifoq.cli.demo.stage import Casualty, Stage

MOST = 5
"""So many are killed, at most."""
PATIENCE, PAUSE = 10.0, 0.01
"""Seconds for which to look for somebody at work, and between two looks: all may be waiting for a slow disk."""


async def kill_one(stage: Stage, look: Callable[[], Awaitable[Iterable[Entry]]]) -> tuple[Casualty, ...]:
    """
    Kill the worker that has most moves in work, and another one if the first had just none; return who was killed.

    `look` gives the log of all games as it is.
    """
    casualties: list[Casualty] = []
    deadline = time.monotonic() + PATIENCE
    while len(casualties) < MOST and time.monotonic() < deadline:
        at_work = _at_work(await look(), stage.workers)
        if not at_work:
            await asyncio.sleep(PAUSE)
            continue
        [(victim, _)] = at_work.most_common(1)
        casualties.append(await stage.kill(victim))
        if _at_work(await look(), [victim]):
            break
    return tuple(casualties)


def _at_work(log: Iterable[Entry], workers: Iterable[int]) -> Counter[int]:
    """How many attempts of each of these workers have begun and not ended."""
    workers = set(workers)
    return Counter(entry.worker for entry in log if entry.ended is None and entry.worker in workers)
