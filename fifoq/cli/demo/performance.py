"""One performance: all games played over HTTP, move by move, one way or the other, and what was logged of it."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

from fifoq.cli.demo.games import Plan
from fifoq.cli.demo.http import Client, Refused
from fifoq.cli.demo.log import Entry
from fifoq.cli.demo.stage import Casualty

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
    server: int
    """The process that took the moves."""
    casualties: tuple[Casualty, ...] | None = None
    """The workers that were killed; None: nobody was to be."""


class Counter(NamedTuple):
    """How to tell how far a performance is: called with totals."""

    sent: Callable[[int], None]
    ended: Callable[[int], None]


class Player:
    """Plays one way of one server."""

    def __init__(self, client: Client, way: Way, plans: list[Plan], counter: Counter) -> None:
        self._client, self._way, self._plans, self._counter = client, way, plans, counter
        self._total = sum(len(plan.turns) for plan in plans)
        self._sent = 0

    async def perform(self, midway: Callable[[], Awaitable[tuple[Casualty, ...]]] | None = None) -> Performance:
        """
        Play all plans at the same time, wait until every move has ended, and ask for the facts.

        The moves of one party are sent one after another, each as soon as the one before was accepted. `midway` is
        awaited once half of all moves are made. Stops waiting when nothing ended for PATIENCE seconds: what is missing
        then is the verdict's business. Raises Refused and OSError.
        """
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(midway))
                for plan in self._plans:
                    group.create_task(self._send(plan))
        except* (Refused, OSError) as errors:
            raise errors.exceptions[0] from None
        server, casualties = watch.result()
        return Performance(self._plans, await self.facts(), server, casualties)

    async def facts(self) -> dict[str, Facts]:
        """Return what is known of each game now."""
        names = [plan.party.name for plan in self._plans]
        found: list[dict[str, Any]] = await asyncio.gather(
            *(self._client.get(f"/{self._way}/{name}") for name in names)
        )
        return {
            name: Facts(one["board"], tuple(Entry(*line) for line in one["log"]))
            for name, one in zip(names, found, strict=True)
        }

    async def log(self) -> list[Entry]:
        """Return the log of all games as it is now."""
        return [entry for facts in (await self.facts()).values() for entry in facts.log]

    async def _send(self, plan: Plan) -> None:
        for turn in plan.turns:
            await self._client.post(f"/{self._way}/{plan.party.name}/moves", dataclasses.asdict(turn))
            self._sent += 1
            self._counter.sent(self._sent)

    async def _watch(
        self, midway: Callable[[], Awaitable[tuple[Casualty, ...]]] | None
    ) -> tuple[int, tuple[Casualty, ...] | None]:
        loop = asyncio.get_running_loop()
        ended, moved_at, casualties = 0, loop.time(), None
        while True:
            progress = await self._client.get(f"/{self._way}")
            if progress["ended"] > ended:
                ended, moved_at = progress["ended"], loop.time()
                self._counter.ended(ended)
            if ended >= self._total or loop.time() > moved_at + PATIENCE:
                return progress["process"], casualties
            if midway is not None and ended >= self._total // 2:
                casualties, midway = await midway(), None
            await asyncio.sleep(GLANCE)
