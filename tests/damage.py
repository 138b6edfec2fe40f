"""Damaged records: jobs in each stage of a life, and the assertion that the damage of each is no other job's."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from fifoq.limits import GateSettings, Limit
from fifoq.queue import Declare
from fifoq.record import Damaged, Filter, JobSpec, Record
from fifoq.testing import AsyncDriver, ManualClock

STAGES = ("plain", "keyed", "scheduled", "plain running", "running", "backing off", "failed", "halted", "succeeded")
LATER = 5.0
"""Seconds of a delay or a back-off."""
STEPS = 9
"""Claims until all leases have ended, each some seconds after the one before."""
TOGETHER = 40
"""Damages in one queue."""


class Damage(NamedTuple):
    """One way to damage a record."""

    name: str
    change: Callable[..., Any]
    """Damages the record of the job with an id."""
    shows: bool = True
    """The content can be told from a sound one, so the audit names the job."""


def groups(damages: Iterator[Damage]) -> Iterator[list[Damage]]:
    """Yield the damages of one queue each."""
    while group := list(islice(damages, TOGETHER)):
        yield group


async def broken_promises(
    driver: AsyncDriver, clock: ManualClock, stage: str, damages: Sequence[Damage], *, maintained: bool = True
) -> list[str]:
    """
    Damage the records of jobs in a stage, one for each of `damages`; return all promises that this breaks.

    `maintained`: the queue is purged before its jobs run, as each worker does now and then.
    """
    trial = _Trial(driver, clock, stage, damages, maintained)
    try:
        await trial.run()
    except Exception as error:
        trial.broken.append(f"{type(error).__name__}: {error}"[:300])
    return trial.broken


class _Trial:
    def __init__(
        self, driver: AsyncDriver, clock: ManualClock, stage: str, damages: Sequence[Damage], maintained: bool
    ) -> None:
        self.maintained = maintained
        self.driver, self.queue, self.clock, self.stage = driver, driver.queue, clock, stage
        self.damages = {f"victim-{driver.queue.name}-{number}.": damage for number, damage in enumerate(damages)}
        self.broken: list[str] = []

    async def run(self) -> None:
        others = await self._prepare()
        for id, damage in self.damages.items():
            damage.change(id)
        await self._look("before", others)
        named = " ".join((await self.queue.audit()).differences)
        self._note("not in the audit", [id for id, damage in self.damages.items() if damage.shows and id not in named])
        if self.maintained:
            await self.queue.purge(1_000)
        ended = await self._work()
        held_back = "same-key" if self.stage == "halted" else "none"
        self._note("did not end", [id for id in others if id not in ended and held_back not in id])
        await self._look("after", others)
        await self.queue.purge(1_000)
        await self._remove()
        await self._put_more()

    async def _prepare(self) -> list[str]:
        """Put the jobs whose records are to be damaged, bring them into the stage, and put others behind them."""
        await self.queue.configure([Declare("task", GateSettings.of(limit=Limit(1, "value")))])
        victims = [self._victim(id) for id in self.damages]
        if self.stage != "unindexed":
            await self.driver.put(*victims)
        if self.stage not in ("plain", "keyed", "scheduled", "unindexed"):
            for lease in await self.driver.leases(len(victims)):
                match self.stage:
                    case "backing off":
                        await self.driver.retry(lease, LATER)
                    case "failed" | "halted":
                        await self.driver.fail(lease, halt=self.stage == "halted")
                    case "succeeded":
                        await self.driver.succeed(lease)
                    case _:
                        pass
        others: list[JobSpec] = []
        for id in self.damages:
            others += [
                JobSpec(f"same-key-{id}", "task", b"", f"key-{id}"),
                JobSpec(f"same-value-{id}", "task", b"", None, f"value-{id}"),
                JobSpec(f"free-{id}", "task", b""),
            ]
        ids = await self.driver.put(*others)
        if self.stage == "unindexed":
            for victim in victims:
                await self.driver.put(victim._replace(unique=None))  # one by one
        return ids

    def _victim(self, id: str) -> JobSpec:
        spec = JobSpec(id, "task", b"\x92\x90\x80", retain=10**12)
        if not self.stage.startswith("plain"):
            spec = spec._replace(key=f"key-{id}", value=f"value-{id}", unique=f"unique-{id}", owner=f"owner-{id}")
        return spec._replace(delay=round(LATER * 1_000_000)) if self.stage == "scheduled" else spec

    async def _work(self) -> dict[str, str]:
        """Settle all that can be claimed, as a worker does; return the ids, each with the way in which it ended."""
        ended: dict[str, str] = {}
        for _ in range(STEPS):
            for lease in await self.driver.leases(1_000):
                if lease.damage is None:
                    await self.driver.succeed(lease)
                    ended[lease.spec.id] = "succeeded"
                else:
                    await self.driver.fail(lease)
                    ended[lease.spec.id] = "set aside"
            self.clock.advance(2.6)
        return ended

    async def _look(self, when: str, others: Sequence[str]) -> None:
        found: set[str] = set()
        cursor: int | None = 0
        while cursor is not None:
            page = await self.queue.find(Filter(), cursor, 1_000)
            found |= {record.spec.id if isinstance(record, Record) else record.id for record in page.records}
            cursor = page.cursor
        self._note(f"not on a page {when}", [id for id in others if id not in found])
        await self.queue.find(Filter(owner="owner-", task="task", key="key"), 0, 100)
        await self.queue.get([*others, *self.damages])
        await self.queue.stats()
        await self.queue.blocked_keys(None, 100)

    async def _remove(self) -> None:
        page = await self.queue.find(Filter(), 0, 1_000)
        # One whose id was damaged has another now.
        ids = list(self.damages.keys() | {record.id for record in page.records if isinstance(record, Damaged)})
        found = await self.queue.get(ids)
        changed = await self.queue.cancel(ids, "removed")
        left = await self.queue.get(ids)
        damaged = [number for number, record in enumerate(found) if isinstance(record, Damaged)]
        self._note("not removed", [ids[n] for n in damaged if not changed[n].changed or left[n] is not None])
        await self.queue.skip(ids)

    async def _put_more(self) -> None:
        more = [
            JobSpec(f"new-{number}-{id}", "task", b"", key, f"value-{id}", unique=f"unique-{id}" if number else None)
            for id in self.damages
            for number, key in enumerate((None, f"key-{id}"))
        ]
        receipts = await self.driver.receipts(*more)
        self._note("new, not accepted", [spec.id for spec, one in zip(more, receipts, strict=True) if not one.created])
        ended = await self._work()
        self._note("new, did not end", [spec.id for spec in more if spec.id not in ended])

    def _note(self, text: str, ids: Sequence[str]) -> None:
        for id in ids:
            name = next((damage.name for victim, damage in self.damages.items() if victim in id), "")
            self.broken.append(f"{name}: {text}: {id}")
