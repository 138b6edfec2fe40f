"""One performance: all games played over HTTP, move by move, one way or the other, and what the server logged."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from fifoq.cli.demo.games import Plan
from fifoq.cli.demo.http import Client, Refused
from fifoq.cli.demo.log import Entry

Way = Literal["naive", "fifoq"]
PATIENCE = 20.0
"""Seconds without any progress after which the rest is given up."""
GLANCE = 0.05
"""Seconds between two looks at the server's progress."""


class Facts(NamedTuple):
    """What the server says of one game."""

    board: str
    log: tuple[Entry, ...]


class Performance(NamedTuple):
    """What was sent, and what became of it."""

    plans: list[Plan]
    facts: dict[str, Facts]
    """By the party's name."""
    misfits: int
    """Attempts that found no piece to move."""


class Counter(NamedTuple):
    """How to tell how far a performance is: called with totals."""

    sent: Callable[[int], None]
    ended: Callable[[int], None]


async def perform(client: Client, way: Way, plans: list[Plan], counter: Counter) -> Performance:
    """
    Play all `plans` at the same time, wait until every move has ended, and ask for the facts.

    The moves of one party are sent one after another, each as soon as the one before was accepted. Stops waiting when
    nothing ended for PATIENCE seconds: what is missing then is the verdict's business. Raises Refused and OSError.
    """
    total = sum(len(plan.turns) for plan in plans)
    sender = _Sender(client, way, counter)
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_watch(client, way, total, counter))
            for plan in plans:
                group.create_task(sender.send(plan))
    except* (Refused, OSError) as errors:
        raise errors.exceptions[0] from None
    names = [plan.party.name for plan in plans]
    facts = await asyncio.gather(*(_facts(client, way, name) for name in names))
    return Performance(plans, dict(zip(names, facts, strict=True)), watch.result()["misfits"])


class _Sender:
    """Sends the moves of each party, and counts them over all."""

    def __init__(self, client: Client, way: Way, counter: Counter) -> None:
        self._client, self._way, self._counter = client, way, counter
        self._sent = 0

    async def send(self, plan: Plan) -> None:
        for turn in plan.turns:
            await self._client.post(f"/{self._way}/{plan.party.name}/moves", dataclasses.asdict(turn))
            self._sent += 1
            self._counter.sent(self._sent)


async def _watch(client: Client, way: Way, total: int, counter: Counter) -> dict[str, int]:
    loop = asyncio.get_running_loop()
    ended, moved_at = 0, loop.time()
    while True:
        progress = await client.get(f"/{way}")
        if progress["ended"] > ended:
            ended, moved_at = progress["ended"], loop.time()
            counter.ended(ended)
        if ended >= total or loop.time() > moved_at + PATIENCE:
            return progress
        await asyncio.sleep(GLANCE)


async def _facts(client: Client, way: Way, name: str) -> Facts:
    found: dict[str, Any] = await client.get(f"/{way}/{name}")
    return Facts(found["board"], tuple(Entry(*line) for line in found["log"]))
